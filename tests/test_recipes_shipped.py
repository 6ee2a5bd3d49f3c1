"""The recipes that come with distill: one for every row of both papers' tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distill.config import CurateConfig, EvalConfig, TrainConfig
from distill.curate.plan import plan_run
from distill.errors import DistillError
from distill.recipe import load_config
from distill.train.dry_run import plan_training
from tests.train_fixtures import CORRECT, INCORRECT, completion, row, save_rows

NAMES = sorted(path.stem for path in (Path(__file__).parents[1] / "recipes").glob("*.yaml"))
SLOWED = [name for name in NAMES if name.startswith("slowed")]
GUARDS = {"without-masking": (False, True), "without-slow-tuning": (True, False)}
BASELINES = {"std-cot": "sft", "step-by-step": "step-by-step", "mt-cot": "mt-cot", "cascod": "cascod"}


def train(name: str) -> TrainConfig:
    return load_config(TrainConfig, "train", recipe=Path(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_loads_for_every_command(name: str) -> None:
    curate = load_config(CurateConfig, "curate", recipe=Path(name))
    evaluation = load_config(EvalConfig, "eval", recipe=Path(name))
    assert curate.source.name
    assert train(name).model
    if name != "quickstart":
        assert evaluation.benchmarks


def test_every_row_of_slowed_has_a_recipe() -> None:
    rows = ["", *(f"-{row}" for row in (*BASELINES, *GUARDS))]
    assert set(SLOWED) == {f"slowed{student}{row}" for student in ("", "-llama", "-bloom") for row in rows}


@pytest.mark.parametrize("name", SLOWED)
def test_a_row_of_slowed_has_its_student_its_method_and_its_guards(name: str) -> None:
    config = train(name)
    student = next((word for word in ("llama", "bloom") if f"-{word}" in name), "qwen")
    row = name.removeprefix("slowed").removeprefix(f"-{student}").removeprefix("-")
    hub_id = {"qwen": "Qwen/Qwen2.5-1.5B", "llama": "meta-llama/Llama-3.2-1B", "bloom": "bigscience/bloom-1b1"}
    layers = ("query_key_value",) if student == "bloom" else ("q_proj", "v_proj")
    assert config.lora is not None
    assert (config.model, config.lora.target_modules) == (hub_id[student], layers)
    assert (config.lora.rank, config.lora.alpha, config.lora.dropout) == (64, 32, 0.05)
    assert (config.epochs, config.groups_per_step, config.max_tokens) == (10, 64, 1024)
    assert (config.optimizer.learning_rate, config.optimizer.schedule, config.optimizer.gamma) == (2e-4, "step", 0.95)
    guards = (config.low_entropy_mask is not None, config.slow_tuning is not None)
    if row in BASELINES:
        assert (config.method, guards) == (BASELINES[row], (False, False))
        assert config.loss.answer_weight == 0.1
    else:
        assert guards == GUARDS.get(row, (True, True))
        assert config.method == ("slowed" if row == "" else "sft")
    if config.low_entropy_mask is not None:
        assert (config.low_entropy_mask.percent, config.low_entropy_mask.entropy_source) == (20, "student")


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("advdistill")])
def test_a_row_of_advdistill_has_the_papers_settings(name: str) -> None:
    config, curate = train(name), load_config(CurateConfig, "curate", recipe=Path(name))
    optimizer = config.optimizer
    assert (config.epochs, config.groups_per_step, config.max_tokens, config.lora) == (4, 16, 2048, None)
    assert (optimizer.learning_rate, optimizer.weight_decay, optimizer.warmup_ratio) == (5e-6, 0.01, 0.05)
    assert (optimizer.schedule, optimizer.max_grad_norm) == ("cosine", 0.5)
    assert (config.loss.temperature, config.loss.contrastive_weight) == (0.5, 0.5)
    assert config.method == ("sft" if "sft" in name else "advdistill")
    assert config.model == ("Qwen/Qwen2.5-3B" if "3b" in name else "Qwen/Qwen2.5-1.5B")
    assert config.completions_per_group == (3 if "3-completions" in name else None)
    sampling = curate.sampling
    assert (sampling.num_completions, sampling.temperature, sampling.max_new_tokens) == (8, 0.9, 2048)


def test_a_recipe_may_begin_with_one_beside_it_and_say_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: advdistill\ntrain: {epochs: 2, low_entropy_mask: 50}\n", "utf-8")
    (tmp_path / "more.yaml").write_text("base: mine\ntrain: {low_entropy_mask: {scope: rationale}}\n", "utf-8")
    config = load_config(TrainConfig, "train", recipe=tmp_path / "more.yaml", sets=["optimizer.weight_decay=0"])
    assert config.low_entropy_mask is not None
    assert (config.epochs, config.max_tokens, config.optimizer.learning_rate) == (2, 2048, 5e-6)
    assert (config.low_entropy_mask.percent, config.low_entropy_mask.scope) == (50, "rationale")
    assert config.optimizer.weight_decay == 0


def test_what_is_wrong_in_a_base_is_told_with_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text("train: {epocs: 2}\n", "utf-8")
    (tmp_path / "second.yaml").write_text("base: first\ntrain: {seed: 1}\n", "utf-8")
    with pytest.raises(DistillError, match=r"first.yaml: no field 'train.epocs'"):
        load_config(TrainConfig, "train", recipe=tmp_path / "second.yaml")
    (tmp_path / "first.yaml").write_text("base: second\n", "utf-8")
    with pytest.raises(DistillError, match="begins with itself"):
        load_config(TrainConfig, "train", recipe=tmp_path / "second.yaml")
    (tmp_path / "first.yaml").write_text("base: advdistil\n", "utf-8")
    with pytest.raises(DistillError, match="there is no recipe 'advdistil'") as raised:
        load_config(TrainConfig, "train", recipe=tmp_path / "first.yaml")
    assert raised.value.hint == "did you mean 'advdistill'?"


ANSWERED = "Two and two. Therefore, the answer is 4."
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": {"num_key_value_heads": 2, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    "llama": {"num_key_value_heads": 2, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    "bloom": {"n_layer": 2, "n_head": 4},
}
ROWS: dict[str, dict[str, Any]] = {
    "gsm8k": {"question": "What is {n} + {n}?", "answer": "It is {n}{n}.\n#### 4"},
    "open_s1": {"problem": "What is {n} + {n}?", "solution": "It is $\\boxed{4}$.", "answer": "4"},
    "mmlu_pro": {"question_id": "{n}", "question": "What is {n} + {n}?", "options": ["4", "5"], "answer": "A"},
    "bbh": {"task": "object_counting", "input": "How many are {n} and {n}?", "target": "4"},
}
HELD_OUT = {"open_s1": 553, "mmlu_pro": 2284, "bbh": 1302}
"""Problems that a card keeps for its test split."""


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of answered completions, and of each family of students a small config.json and nothing else."""
    folder = tmp_path_factory.mktemp("stand_ins")
    groups = [row(n, [(completion(ANSWERED), CORRECT), (completion("5"), INCORRECT)] * 4) for n in range(1, 20)]
    save_rows(folder / "groups", groups)
    for family, sizes in FAMILIES.items():
        (folder / family).mkdir()
        values = {"model_type": family, "hidden_size": 32, "vocab_size": 264, **sizes}
        (folder / family / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_trains_as_far_as_a_dry_run_tells(name: str, stand_ins: Path) -> None:
    family = next((family for family in FAMILIES if f"-{family}" in name), "qwen2")
    flags = {"dataset": str(stand_ins / "groups"), "model": str(stand_ins / family), "device": "cpu"}
    config = load_config(TrainConfig, "train", recipe=Path(name), flags=flags)
    planned = plan_training(config, device_flops=1e9)
    assert planned.data.groups == 19
    assert planned.steps == config.epochs * -(-19 // config.groups_per_step)
    assert planned.passes.packed == (family != "bloom" and planned.passes.why_rows == "")
    assert (planned.student.trained < planned.student.parameters) == name.startswith("slowed")


@pytest.mark.parametrize("name", ["advdistill", "advdistill-open-s1", "advdistill-mmlu-pro", "slowed"])
def test_a_shipped_recipe_curates_as_far_as_a_dry_run_tells(name: str, tmp_path: Path) -> None:
    source = load_config(CurateConfig, "curate", recipe=Path(name)).source.name
    lines = [json.dumps(ROWS[source]).replace("{n}", str(n)) for n in range(HELD_OUT.get(source, 0) + 8)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    flags = {
        "source": {"path": str(tmp_path / "rows.jsonl")},
        "teacher": {"model": "tiny-teacher", "device": "cpu"},
        "decontaminate": {"benchmarks": []},
    }
    config = load_config(CurateConfig, "curate", recipe=Path(name), flags=flags)
    planned = plan_run(config, tmp_path / "run")
    assert (planned.source, planned.problems) == (source, 8)
    assert planned.completions == 8 * config.sampling.num_completions
