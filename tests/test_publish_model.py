"""Students on a Hub: what arrives and loads, what the card says, and results that machines read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from distill import DistillError, ModelOptions, publish_model, train_student
from distill.evals.gather import Run
from distill.models import load_model, model_fingerprint
from distill.publish.card import split_card
from distill.publish.eval_results import hub_results, model_index
from tests.hub_server import Hub
from tests.test_evals_page import evaluated
from tests.test_publish import TOKEN, hub  # noqa: F401 - a fixture
from tests.train_fixtures import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
REPO = "me/student"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An evaluated run: 6 of 10 sums right, 3 of 4 harmful requests refused."""
    folder = tmp_path_factory.mktemp("trained")
    config = tiny_config(folder, method="sft", epochs=1)
    train_student(config, folder / "run")
    evaluated(folder, "sft", "rrrrrrwwww")
    evaluated(folder, "sft", "rrrw", benchmark="advbench", answer="")
    return folder


def options(trained: Path, **changes: Any) -> ModelOptions:
    return replace(
        ModelOptions("apache-2.0", evaluations=[trained / "sums-test", trained / "advbench-test"]), **changes
    )


def test_a_student_arrives_and_its_copy_says_the_same(hub: Hub, trained: Path, tmp_path: Path) -> None:  # noqa: F811
    result = publish_model(trained / "run", REPO, options(trained))
    stored = hub.model(REPO)
    assert stored.private
    assert stored.large == {"model.safetensors"}
    for path, content in stored.files().items():
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / path).write_bytes(content)
        assert TOKEN.encode() not in content
    assert set(result.files) == set(stored.files()) - {".gitattributes"}
    ids = torch.tensor([[5, 6, 7]])
    logits = [
        load_model(str(path), dtype="float32", device="cpu")(ids).logits for path in (tmp_path, trained / "run/student")
    ]
    assert torch.equal(*logits)


def test_a_card_tells_training_results_safety_and_limits(hub: Hub, trained: Path) -> None:  # noqa: F811
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard_data import model_index_to_eval_results

    named = options(trained, base_model="Qwen/Qwen2.5-0.5B", datasets=["me/sums"], languages=["en"])
    result = publish_model(trained / "run", REPO, named, dry_run=True)
    metadata, body = split_card(result.card)
    assert (metadata["base_model"], metadata["datasets"], metadata["license"]) == (
        "Qwen/Qwen2.5-0.5B",
        ["me/sums"],
        "apache-2.0",
    )
    assert metadata["library_name"] == "transformers"
    for said in (
        "| trained on | 6 groups, 6 completions,",
        "| `optimizer.learning_rate` | 0.001 |",
        "| sums:test | sft | 60.0 (",
        "| advbench:test | sft | 75.0 (",
        "### What these numbers do not say",
        "## Limits",
        "method: sft",
    ):
        assert said in body
    card = ModelCard(result.card)
    card.validate(repo_type="model")
    _, found = model_index_to_eval_results(metadata["model-index"])
    assert {each.dataset_name: each.metric_value for each in found if each.metric_type == "accuracy"} == {
        "sums:test": 60.0,
        "advbench:test": 75.0,
    }
    assert result.notes == ()


def test_adapters_name_the_base_that_others_can_load(hub: Hub, trained: Path, tmp_path: Path) -> None:  # noqa: F811
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/models/base", "r": 4}))
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    local = publish_model(adapter, REPO, ModelOptions("mit"), dry_run=True)
    assert any("'/models/base' is no name on the Hub, and an adapter is loaded by it" in note for note in local.notes)
    assert "base_model" not in split_card(local.card)[0]
    publish_model(adapter, REPO, ModelOptions("mit", base_model="owner/base"))
    files = hub.model(REPO).files()
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "owner/base"
    metadata, body = split_card(files["README.md"].decode())
    assert (metadata["base_model"], metadata["library_name"]) == ("owner/base", "peft")
    assert 'AutoModelForCausalLM.from_pretrained("owner/base")' in body
    assert "Neither what it can do nor how it answers harmful requests was measured." in body


def test_leaderboards_get_whole_benchmarks_of_the_hub_only(trained: Path, tmp_path: Path) -> None:
    from huggingface_hub import parse_eval_result_entries

    report = replace(
        evaluated(tmp_path, "sft", "rrrw", benchmark="gsm8k"), num_problems=1319, versions={"distill": "1.0"}
    )
    run = Run("sft", "sft", "", reports={"gsm8k:test": report})
    files = hub_results(run)
    (entry,) = parse_eval_result_entries(yaml.safe_load(files["gsm8k.yaml"]))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("openai/gsm8k", "main", 75.0)
    assert len(entry.dataset_revision) == 40
    assert "temperature 0.0" in entry.notes
    (result,) = model_index(REPO, run)[0]["results"]
    assert result["dataset"] | {"args": None} == {
        "name": "gsm8k:test", "type": "openai/gsm8k", "config": "main", "split": "test", "args": None,
    }  # fmt: skip
    for partly in (replace(report, num_problems=100), replace(report, absent=3), replace(report, benchmark="sums")):
        assert hub_results(replace(run, reports={"gsm8k:test": partly})) == {}


def test_results_that_are_no_more_go_from_the_hub(hub: Hub, trained: Path) -> None:  # noqa: F811
    publish_model(trained / "run", REPO, options(trained))
    stored = hub.model(REPO)
    stored.add({**stored.files(), ".eval_results/gsm8k.yaml": b"old", "notes.txt": b"theirs"}, "main", "edit")
    publish_model(trained / "run", REPO, options(trained))
    assert ".eval_results/gsm8k.yaml" not in stored.files()
    assert "notes.txt" in stored.files()


def test_an_evaluation_is_of_a_student_by_its_files_wherever_they_lie_now(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run" / "student", tmp_path / "moved")
    shutil.copytree(trained / "sums-test", tmp_path / "sums-test")
    report = next((tmp_path / "sums-test").rglob("report.json"))
    values = json.loads(report.read_text(encoding="utf-8"))
    values["settings"]["model_files"] = model_fingerprint(str(tmp_path / "moved"))
    report.write_text(json.dumps(values), encoding="utf-8")
    found = publish_model(
        tmp_path / "moved", REPO, ModelOptions("mit", evaluations=[tmp_path / "sums-test"]), dry_run=True
    )
    assert "model-index" in found.card


def test_what_is_missing_is_one_clear_line(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="the student has no licence"):
        publish_model(trained / "run", REPO, dry_run=True)
    with pytest.raises(DistillError, match="'free for all' is no licence of the Hub's"):
        publish_model(trained / "run", REPO, ModelOptions("free for all"), dry_run=True)
    with pytest.raises(DistillError, match="holds no model"):
        publish_model(tmp_path, REPO, ModelOptions("mit"), dry_run=True)
    shutil.copytree(trained / "run" / "student", tmp_path / "other")
    with pytest.raises(DistillError, match="no evaluation is of"):
        publish_model(tmp_path / "other", REPO, options(trained), dry_run=True)
