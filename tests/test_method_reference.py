"""Whole optimizer steps against docs/methods.md written once more: a token, a completion, a group at a time.

Nothing of the trainer is used below but its plan: no packing, no chunks, no coefficients, no PEFT.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.config import LossConfig, TrainConfig
from distill.train.plan import TrainPlan
from distill.train.trainer import Trainer
from tests.tiny import make_tiny_model, save_tiny
from tests.train_fixtures import CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED, completion, make_trainer, row, save_rows

MAX_TOKENS = 80
RIGHT, WRONG, SHORT = (completion("9+9 is 18"), CORRECT), (completion("so 99"), INCORRECT), (completion("18"), CORRECT)
CUT_OFF, UNKNOWN = (completion("hm, hm, hm", "length"), NO_ANSWER), (completion("eh? eh?"), UNVERIFIED)
TOO_LONG = (completion("long " * 15), INCORRECT)
ROWS = [
    row(1, [RIGHT, WRONG, UNKNOWN, CUT_OFF], rewards=[2.5, -1.25, None, -0.5]),
    row(2, [UNKNOWN, TOO_LONG, SHORT, RIGHT, WRONG], rewards=[None, 0.75, 2.0, -1.5, 0.25]),
    row(3, [WRONG, SHORT, CUT_OFF, UNKNOWN], rewards=[1.5, 1.5, 1.5, None]),
    row(4, [SHORT, RIGHT], rewards=[3.0, 2.75]),
]
LORA = {"rank": 3, "alpha": 7, "dropout": 0.0, "target_modules": ["q_proj", "down_proj"]}

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Read:
    """One rewarded completion as the student reads it."""

    outcome: str
    advantage: float
    logprobs: torch.Tensor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reference")
    save_rows(root / "data", ROWS)
    save_tiny(root / "base")
    return root


def config_of(folder: Path, **options: Any) -> TrainConfig:
    values = {"dataset": str(folder / "data"), "model": str(folder / "base"), "max_tokens": MAX_TOKENS, "device": "cpu"}
    return TrainConfig.model_validate(values | options)


def trainer_of(config: TrainConfig) -> Trainer:
    """A trainer in float64 whose adapters, if it has some, already say something."""
    trainer = make_trainer(config, double=True)
    generator = torch.Generator().manual_seed(2)
    for name, weight in trainer.student.trained_parameters().items():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.2, generator=generator)
    return trainer


def plain_student(trainer: Trainer) -> tuple[dict[str, torch.Tensor], Forward]:
    """Copies of the trained weights, and a model that computes its logits with them: W + (alpha / r) B A."""
    model = make_tiny_model().double()
    weights = {name: w.detach().clone().requires_grad_() for name, w in trainer.student.trained_parameters().items()}
    frozen = {name: w.detach() for name, w in model.named_parameters()}

    def forward(ids: torch.Tensor) -> torch.Tensor:
        changed = {name: w for name, w in weights.items() if name in frozen}
        for name, a in weights.items():
            if "lora_A" in name:
                target = name.removeprefix("base_model.model.").replace("lora_A.default.", "")
                b = weights[name.replace("lora_A", "lora_B")]
                assert len(a) == LORA["rank"]
                changed[target] = frozen[target] + LORA["alpha"] / LORA["rank"] * b @ a
        return torch.func.functional_call(model, frozen | changed, ids).logits

    return weights, forward


def read_group(forward: Forward, group: dict[str, Any]) -> list[Read]:
    """Equation 4, and the log-probability of every token given the prompt and the tokens before it."""
    known = [reward for reward in group["rewards"] if reward is not None]
    mean = sum(known) / len(known)
    std = math.sqrt(sum((reward - mean) ** 2 for reward in known) / (len(known) - 1))
    prompt = group["prompt_ids"]
    read = []
    for ids, outcome, reward in zip(group["completion_ids"], group["outcomes"], group["rewards"], strict=True):
        if reward is None:
            continue
        tokens = [*prompt, *ids][:MAX_TOKENS]
        distributions = forward(torch.tensor([tokens]))[0].log_softmax(dim=-1)
        logprobs = [distributions[t - 1, tokens[t]] for t in range(len(prompt), len(tokens))]
        read.append(Read(outcome, (reward - mean) / (std + 1e-4), torch.stack(logprobs)))
    return read


def advdistill(group: list[Read], options: LossConfig) -> torch.Tensor:
    """Equations 5 to 9 for one group."""
    weights = [math.exp(c.advantage / options.temperature) for c in group]
    is_wrong = {
        "incorrect_or_no_answer": lambda c: c.outcome != "correct",
        "incorrect": lambda c: c.outcome == "incorrect",
        "negative_advantage": lambda c: c.advantage < 0,
    }[options.wrong]
    wrong = [c for c in group if is_wrong(c)]
    loss = torch.zeros((), dtype=torch.float64)
    for c, weight in zip(group, weights, strict=True):
        w = weight / sum(weights)
        loss = loss - w * (c.logprobs.mean() if options.cross_entropy == "mean" else c.logprobs.sum())
        if not is_wrong(c):
            continue
        pbar = c.logprobs.exp().mean() if options.mean_probability == "arithmetic" else c.logprobs.mean().exp()
        term = -(1 - pbar.clamp(max=options.max_probability)).log()
        size = {"mean_over_group": len(group), "sum": 1, "mean_over_wrong": len(wrong)}[options.contrastive_reduction]
        weighting = w if options.contrastive_weighting == "w_i" else 1
        loss = loss + options.contrastive_weight * weighting * term / size
    return loss


def step_loss(groups: Sequence[list[Read]], config: TrainConfig) -> torch.Tensor:
    """The loss of an optimizer step."""
    if config.method == "advdistill":
        return sum(advdistill(group, config.loss) for group in groups) / len(groups)
    if config.method == "sft":
        chosen = [max(group, key=lambda c: (c.advantage, c.outcome == "correct")) for group in groups]
    else:
        chosen = [c for group in groups for c in group if c.outcome == "correct"]
    if config.loss.normalise == "token":
        return -sum(c.logprobs.sum() for c in chosen) / sum(len(c.logprobs) for c in chosen)
    return -sum(c.logprobs.mean() for c in chosen) / len(chosen)


CASES = [
    ("advdistill", {}, None),
    ("advdistill", {}, LORA),
    ("advdistill", {"contrastive_reduction": "sum", "mean_probability": "geometric", "temperature": 1.3}, None),
    ("advdistill", {"contrastive_reduction": "mean_over_wrong", "cross_entropy": "sum"}, None),
    ("advdistill", {"contrastive_weighting": "w_i", "wrong": "incorrect", "max_probability": 0.05}, None),
    ("advdistill", {"wrong": "negative_advantage", "contrastive_weight": 3.0}, None),
    ("sft", {"normalise": "token"}, None),
    ("sft", {"normalise": "completion"}, LORA),
    ("sft-all-correct", {"normalise": "token"}, LORA),
    ("sft-all-correct", {"normalise": "completion"}, None),
]


@pytest.mark.parametrize(("method", "loss", "lora"), CASES)
def test_a_step_equals_the_equations_in_loss_and_in_every_gradient(folder, method, loss, lora):
    one_row, no_clipping = {"tokens_per_micro_batch": 1}, {"optimizer": {"max_grad_norm": 1e9}}
    config = config_of(folder, method=method, loss=loss, lora=lora, **one_row, **no_clipping)
    trainer = trainer_of(config)
    weights, forward = plain_student(trainer)
    metrics = trainer.gradients(trainer.step_rows(range(len(ROWS))))
    expected = step_loss([read_group(forward, group) for group in ROWS], config)
    expected.backward()
    assert metrics["loss"] == pytest.approx(expected.item(), rel=1e-6)  # rewards and coefficients are float32
    for name, weight in trainer.student.trained_parameters().items():
        scale = weights[name].grad.abs().max()
        torch.testing.assert_close(weight.grad / scale, weights[name].grad / scale, rtol=0, atol=1e-5)


def test_a_run_equals_torchs_adamw_clipping_and_schedule(folder):
    options = {"learning_rate": 1e-2, "weight_decay": 0.3, "betas": (0.8, 0.95), "eps": 1e-6, "max_grad_norm": 9.0}
    config = config_of(folder, epochs=2, groups_per_step=2, optimizer=options | {"warmup_ratio": 0.3}, seed=1)
    trainer = trainer_of(config)
    assert trainer.plan == TrainPlan(tuple(group["id"] for group in ROWS), groups_per_step=2, epochs=2, seed=1)
    weights, forward = plain_student(trainer)
    decayed = [w for w in weights.values() if w.ndim > 1]
    rest = {"params": [w for w in weights.values() if w.ndim == 1], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, rest], lr=1e-2, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3, foreach=False
    )
    # 4 steps, of which 30 % rounded up warm up: 1/2, 1; then a half cosine over two: 1, 1/2
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: [0.5, 1.0, 1.0, 0.5, 0.0][step])
    norms = []
    for step in range(4):
        groups = [read_group(forward, ROWS[group]) for group in trainer.plan.groups_of(step)]
        optimizer.zero_grad()
        loss = step_loss(groups, config)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(weights.values(), 9.0).item())
        optimizer.step()
        schedule.step()
        line = trainer.take_step()
        assert (line["loss"], line["grad_norm"]) == pytest.approx((loss.item(), norms[-1]), rel=1e-4)
    assert min(norms) < 9.0 < max(norms)  # clipped and not
    for name, weight in trainer.student.trained_parameters().items():
        torch.testing.assert_close(weight, weights[name], rtol=0, atol=1e-5)
