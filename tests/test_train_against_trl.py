"""The same tokens in the same order through TRL's SFTTrainer: the same losses, step after step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from distill.models import load_model
from tests.train_fixtures import make_trainer, tiny_config

trl = pytest.importorskip("trl")
STEPS, GROUPS_PER_STEP, CORRECT_PER_GROUP = 20, 2, 2


def trl_losses(config: Any, rows: list[dict[str, list[int]]], out: Path) -> list[float]:
    """The losses that TRL logs for these rows in this order, half a step's rows at a time."""
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import AutoTokenizer

    class InOrder(trl.SFTTrainer):  # type: ignore[name-defined, misc]
        def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    options = config.optimizer
    arguments = trl.SFTConfig(
        output_dir=str(out), per_device_train_batch_size=CORRECT_PER_GROUP, gradient_accumulation_steps=GROUPS_PER_STEP,
        max_steps=STEPS, learning_rate=options.learning_rate, lr_scheduler_type="constant", warmup_steps=0,
        weight_decay=0.0, max_grad_norm=options.max_grad_norm, bf16=False, use_cpu=True, report_to="none",
        save_strategy="no", logging_steps=1, max_length=None, disable_tqdm=True, gradient_checkpointing=False,
    )  # fmt: skip
    trainer = InOrder(
        model=load_model(config.model, dtype="float32", device="cpu"),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(config.model),
    )
    trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_supervised_fine_tuning_takes_the_steps_of_trl(tmp_path: Path) -> None:
    optimizer = {"learning_rate": 1e-3, "weight_decay": 0.0, "schedule": "constant", "warmup_ratio": 0.0}
    config = tiny_config(
        tmp_path, method="sft-all-correct", epochs=7, groups_per_step=GROUPS_PER_STEP, optimizer=optimizer
    )
    trainer = make_trainer(config)
    rows = []
    for step in range(STEPS):
        for group in trainer.plan.groups_of(step):
            (tokens,) = trainer.data.tokens(group)
            prompt = tokens.prompt_ids.tolist()
            assert len(tokens.completion_ids) == CORRECT_PER_GROUP
            for ids in tokens.completion_ids:
                rows.append({"input_ids": prompt + ids.tolist(), "labels": [-100] * len(prompt) + ids.tolist()})
    found = [trainer.take_step()["loss"] for _ in range(STEPS)]
    torch.manual_seed(0)
    expected = trl_losses(config, rows, tmp_path / "trl")
    assert found == pytest.approx(expected, abs=1e-4)
    assert found[-1] < 0.8 * found[0]  # it learns, so later steps depend on the steps before them
