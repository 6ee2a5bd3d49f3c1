"""What others do with an export: TRL trains on it, datasets loads it, their reward functions read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distill import as_trl_reward, export_dataset
from distill.config import CurateConfig, RewardsConfig
from distill.publish.shapes import SHAPES
from tests.tiny import save_tiny, tiny_tokenizer
from tests.train_fixtures import save_rows, sums

trl = pytest.importorskip("trl")


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_rows(tmp_path_factory.mktemp("curated") / "sums", sums(8))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    save_tiny(folder)
    return folder


def load(curated: Path, shape: str, out: Path, **choices: Any) -> Any:
    from datasets import load_dataset

    export_dataset(curated, shape, out, **choices)
    return load_dataset(str(out), split="train", cache_dir=str(out.parent / "cache"))


def one_step(trainer_class: Any, config_class: Any, dataset: Any, student: Path, out: Path, **options: Any) -> Any:
    """A trainer after one real step."""
    from transformers import AutoModelForCausalLM

    given = {name: options.pop(name) for name in ("reward_funcs",) if name in options}
    arguments = config_class(
        output_dir=str(out), per_device_train_batch_size=4, max_steps=1, logging_steps=1, use_cpu=True, bf16=False,
        report_to="none", save_strategy="no", disable_tqdm=True, gradient_checkpointing=False, **options,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(student, dtype="float32")
    trainer = trainer_class(
        model=model, args=arguments, train_dataset=dataset, processing_class=tiny_tokenizer(), **given
    )
    trainer.train()
    return trainer.state


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("shape", "trainer", "config", "options"),
    [
        ("sft", "SFTTrainer", "SFTConfig", {}),
        ("preference", "DPOTrainer", "DPOConfig", {}),
        ("kto", "KTOTrainer", "KTOConfig", {}),
    ],
)
def test_trl_takes_a_step_on_an_export(
    shape: str, trainer: str, config: str, options: dict[str, Any], curated: Path, student: Path, tmp_path: Path
) -> None:
    dataset = load(curated, shape, tmp_path / shape)
    state = one_step(getattr(trl, trainer), getattr(trl, config), dataset, student, tmp_path / "run", **options)
    losses = [line["loss"] for line in state.log_history if "loss" in line]
    assert len(losses) == 1
    assert losses[0] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_our_rewards_and_trls_own_run_in_its_grpo_trainer(curated: Path, student: Path, tmp_path: Path) -> None:
    from trl.rewards import accuracy_reward

    dataset = load(curated, "grpo", tmp_path / "grpo")
    with as_trl_reward() as reward:
        state = one_step(
            trl.GRPOTrainer, trl.GRPOConfig, dataset, student, tmp_path / "run",
            reward_funcs=[reward, accuracy_reward], num_generations=4, max_completion_length=8,
        )  # fmt: skip
    (line,) = [line for line in state.log_history if "reward" in line]
    # no answer in 8 tokens of an untrained model: the cosine is near the -0.5 of a short wrong completion, twice that
    assert line["rewards/distill_reward/mean"] == pytest.approx(-1.0, abs=0.01)
    assert line["distill/cosine"] == pytest.approx(-0.5, abs=0.01)
    assert line["rewards/accuracy_reward/mean"] == 0


def test_the_reward_functions_of_trl_read_the_gold_answers_of_an_export(curated: Path, tmp_path: Path) -> None:
    from trl.rewards import accuracy_reward

    rows = load(curated, "grpo", tmp_path / "grpo")
    right = [[{"role": "assistant", "content": f"It is \\boxed{{{answer}}}."}] for answer in rows["answer"]]
    wrong = [[{"role": "assistant", "content": "It is \\boxed{3.5}."}] for _ in rows]
    columns = {name: list(rows[name]) for name in rows.column_names}
    accuracy = CurateConfig(rewards=RewardsConfig.model_validate({"parts": {"accuracy": {}}}))
    for reward in (accuracy_reward, as_trl_reward(accuracy)):
        assert reward(completions=right, **columns) == [1.0] * 8
        assert reward(completions=wrong, **columns) == [0.0] * 8


@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
@pytest.mark.parametrize("shape", SHAPES)
def test_datasets_loads_every_shape_with_the_columns_that_are_promised(
    shape: str, file_format: str, curated: Path, tmp_path: Path
) -> None:
    dataset = load(curated, shape, tmp_path / shape, file_format=file_format)
    assert dataset.column_names == list(SHAPES[shape].columns)
    assert len(dataset) == json.loads((tmp_path / shape / "export.json").read_text())["rows"]
