"""An adapter and its base become one plain model that says what they say together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.errors import DistillError
from distill.models import load_tokenizer
from distill.train.loop import train_student
from distill.train.merging import merge_adapter
from tests.tiny import make_tiny_model, save_tiny, tiny_tokenizer
from tests.train_fixtures import tiny_config

LORA = {"rank": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run that made an adapter."""
    folder = tmp_path_factory.mktemp("merging")
    train_student(tiny_config(folder, lora=LORA, epochs=1), folder / "run")
    return folder / "run"


def make_adapter(root: Path, **options: Any) -> Path:
    """An adapter of a tiny model with random weights, saved as PEFT saves it."""
    import peft

    base = save_tiny(root / "base")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, lora_alpha=8, init_lora_weights=False, task_type="CAUSAL_LM", **options)
    model = peft.get_peft_model(make_tiny_model(), config)
    for name, weight in model.named_parameters():
        if "modules_to_save" in name:
            weight.data += 0.1 * torch.randn_like(weight)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(root / "adapter", save_embedding_layers=False)
    tiny_tokenizer().save_pretrained(root / "adapter")
    return root / "adapter"


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(1, 60)[None]).logits[0]


def adapted_logits(adapter: Path, base: Path) -> torch.Tensor:
    """Of base and adapter as plain PEFT loads them."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return logits(PeftModel.from_pretrained(model, adapter).eval())


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for the order of sums in float32; this model's logits go up to 13."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_a_merged_model_loads_by_itself_and_says_what_base_and_adapter_say(run: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    report = merge_adapter(run, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert_same(logits(merged), adapted_logits(run / "student", run.parent / "base"))
    assert load_tokenizer(str(tmp_path / "merged")).get_vocab() == tiny_tokenizer().get_vocab()
    assert not list(tmp_path.glob("**/adapter_*"))
    assert report.model == str(tmp_path / "merged")
    assert report.largest_difference == report.merging_difference < 1e-5 * report.largest_logit
    assert report.largest_change > 10 * report.largest_difference
    assert report.same_choice == report.tokens > 100
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_a_merged_model_is_rounded_once_to_the_type_that_is_asked_for(run: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    report = merge_adapter(run / "student", tmp_path / "whole")
    narrow = merge_adapter(run / "student", tmp_path / "narrow", dtype="bfloat16")
    whole, rounded = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "narrow"))
    assert (report.dtype, narrow.dtype) == ("float32", "bfloat16")
    assert narrow.merging_difference == report.merging_difference < narrow.largest_difference
    assert all(torch.equal(rounded[name], weight.bfloat16()) for name, weight in whole.items())


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {"target_modules": ["q_proj"], "use_dora": True},
        {"target_modules": ["q_proj"], "use_rslora": True, "bias": "all"},
    ],
    ids=lambda options: ",".join(f"{key}={value}" for key, value in options.items()),
)
@pytest.mark.filterwarnings("ignore")  # PEFT warns of adapters on tied embeddings
def test_what_an_adapter_changes_beside_attention_is_merged_too(tmp_path: Path, options: dict[str, Any]) -> None:
    from transformers import AutoModelForCausalLM

    adapter = make_adapter(tmp_path, **options)  # its base ties embeddings and output layer
    report = merge_adapter(adapter, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert_same(logits(merged), adapted_logits(adapter, tmp_path / "base"))
    assert report.largest_change > 0.01 * report.largest_logit


def test_a_folder_without_an_adapter_is_told_apart(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, said in (
        (run.parent / "base", "is a whole model already"),
        (tmp_path / "empty", "holds no adapter_config.json"),
        (tmp_path / "nowhere", "there is no folder"),
    ):
        with pytest.raises(DistillError, match=said):
            merge_adapter(folder, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_what_exists_is_never_written_over(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="exists already"):
        merge_adapter(run, tmp_path)


def test_a_base_that_is_gone_can_be_named(run: Path, tmp_path: Path) -> None:
    adapter = shutil.copytree(run / "student", tmp_path / "adapter")
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = str(tmp_path / "gone")
    (adapter / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(DistillError, match=r"the base of the adapter .* there is no folder .*gone") as raised:
        merge_adapter(adapter, tmp_path / "merged")
    assert "--base" in raised.value.hint
    assert merge_adapter(adapter, tmp_path / "merged", base=str(run.parent / "base")).tokens > 0


def test_a_base_that_the_run_was_not_trained_on_is_refused(run: Path, tmp_path: Path) -> None:
    save_tiny(tmp_path / "other", seed=1)
    with pytest.raises(DistillError, match="are not those that the adapter was trained on"):
        merge_adapter(run, tmp_path / "merged", base=str(tmp_path / "other"))


def test_an_adapter_that_is_torn_is_no_adapter(run: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    adapter = shutil.copytree(run / "student", tmp_path / "adapter")
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(dict(list(weights.items())[1:]), adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DistillError, match="lacks weights"):
        merge_adapter(adapter, tmp_path / "merged")
    (adapter / "adapter_model.safetensors").write_bytes(b"torn")
    with pytest.raises(DistillError, match="cannot be read"):
        merge_adapter(adapter, tmp_path / "merged")


def test_prompt_tuning_changes_no_weight_and_is_refused(tmp_path: Path) -> None:
    import peft

    base = save_tiny(tmp_path / "base")
    options = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    peft.get_peft_model(make_tiny_model(), options).save_pretrained(tmp_path / "adapter")
    tiny_tokenizer().save_pretrained(tmp_path / "adapter")
    with pytest.raises(DistillError, match="of the kind PROMPT_TUNING"):
        merge_adapter(tmp_path / "adapter", tmp_path / "merged", base=str(base))


def test_a_full_disk_leaves_nothing_behind(run: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # no file beyond 20 kB: the model takes 150 kB
    try:
        with pytest.raises(DistillError, match="cannot be written"):
            merge_adapter(run, tmp_path / "merged")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
