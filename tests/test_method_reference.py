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

from distill.config import MaskConfig, SlowTuningConfig, TrainConfig
from distill.train.plan import TrainPlan
from distill.train.projections import Projector
from distill.train.trainer import Trainer
from tests.tiny import make_tiny_model, save_tiny, tiny_tokenizer
from tests.train_fixtures import CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED, completion, make_trainer, row, save_rows

MAX_TOKENS = 80
RIGHT, WRONG, SHORT = (completion("9+9 is 18"), CORRECT), (completion("so 99"), INCORRECT), (completion("18"), CORRECT)
CUT_OFF, UNKNOWN = (completion("hm, hm, hm", "length"), NO_ANSWER), (completion("eh? eh?"), UNVERIFIED)
TOO_LONG = (completion("long " * 15), INCORRECT)


def with_entropies(group: dict[str, Any]) -> dict[str, Any]:
    """Teacher entropies as curation stores them, with ties; those of end tokens are the lowest."""
    end = tiny_tokenizer().eos_token_id
    entropies = [
        [0.0 if token == end else (7 * token + 3 * place) % 16 / 8 for place, token in enumerate(ids)]
        for ids in group["completion_ids"]
    ]
    return group | {"token_entropies": entropies, "entropy_kind": "exact"}


ROWS = [
    with_entropies(each)
    for each in (
        row(1, [RIGHT, WRONG, UNKNOWN, CUT_OFF], rewards=[2.5, -1.25, None, -0.5]),
        row(2, [UNKNOWN, TOO_LONG, SHORT, RIGHT, WRONG], rewards=[None, 0.75, 2.0, -1.5, 0.25]),
        row(3, [WRONG, SHORT, CUT_OFF, UNKNOWN], rewards=[1.5, 1.5, 1.5, None]),
        row(4, [SHORT, RIGHT], rewards=[3.0, 2.75]),
    )
]
LORA = {"rank": 3, "alpha": 7, "dropout": 0.0, "target_modules": ["q_proj", "down_proj"]}

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Read:
    """One rewarded completion as the student reads it."""

    outcome: str
    advantage: float
    logprobs: torch.Tensor
    ends: bool
    """True when its last token is the end token."""
    teacher_entropies: list[float]
    entropies: list[float]
    kept: torch.Tensor
    """1.0 on the tokens that the cross entropy sees, else 0.0; as many as ``logprobs``."""


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
    columns = ("completion_ids", "outcomes", "rewards", "token_entropies")
    for ids, outcome, reward, entropies in zip(*(group[name] for name in columns), strict=True):
        if reward is None:
            continue
        tokens = [*prompt, *ids][:MAX_TOKENS]
        distributions = forward(torch.tensor([tokens]))[0].log_softmax(dim=-1)
        logprobs = [distributions[t - 1, tokens[t]] for t in range(len(prompt), len(tokens))]
        before = [distributions[t - 1].detach() for t in range(len(prompt), len(tokens))]
        own = [-float((p.exp() * p).sum()) for p in before]
        ends = tokens[-1] == tiny_tokenizer().eos_token_id
        kept = torch.ones(len(logprobs), dtype=torch.float64)
        advantage = (reward - mean) / (std + 1e-4)
        read.append(Read(outcome, advantage, torch.stack(logprobs), ends, entropies[: len(logprobs)], own, kept))
    return read


def mask(groups: Sequence[list[Read]], options: MaskConfig) -> None:
    """Section 2.1: of the tokens before the end token the floor of k % with the lowest entropy, the earlier on a tie."""
    completions = [c for group in groups for c in group]
    candidates = []
    for number, c in enumerate(completions):
        entropies = c.teacher_entropies if options.entropy_source == "teacher" else c.entropies
        candidates.append([(entropies[t], number, t) for t in range(len(entropies) - c.ends)])
    rankings = candidates if options.rank == "sequence" else [[each for own in candidates for each in own]]
    for ranking in rankings:
        for _, number, t in sorted(ranking)[: math.floor(options.percent / 100 * len(ranking))]:
            completions[number].kept[t] = 0.0


def cross_entropy(c: Read, config: TrainConfig) -> torch.Tensor:
    """-sum_t m_t log p_t / sum_t m_t, or over all tokens."""
    return -(c.kept * c.logprobs).sum() / normaliser(c, config)


def normaliser(c: Read, config: TrainConfig) -> float:
    by_all = config.low_entropy_mask is not None and config.low_entropy_mask.normaliser == "all"
    return len(c.kept) if by_all else c.kept.sum()


def advdistill(group: list[Read], config: TrainConfig) -> torch.Tensor:
    """Equations 5 to 9 for one group; a mask acts on both terms, unless all tokens are to be pushed away."""
    options = config.loss
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
        loss = loss + w * cross_entropy(c, config) * (1 if options.cross_entropy == "mean" else normaliser(c, config))
        if not is_wrong(c):
            continue
        pushed = c.logprobs if options.contrastive_tokens == "all" else c.logprobs[c.kept.bool()]
        pbar = pushed.exp().mean() if options.mean_probability == "arithmetic" else pushed.mean().exp()
        term = -(1 - pbar.clamp(max=options.max_probability)).log()
        size = {"mean_over_group": len(group), "sum": 1, "mean_over_wrong": len(wrong)}[options.contrastive_reduction]
        weighting = w if options.contrastive_weighting == "w_i" else 1
        loss = loss + options.contrastive_weight * weighting * term / size
    return loss


def step_loss(groups: Sequence[list[Read]], config: TrainConfig) -> torch.Tensor:
    """The loss of an optimizer step."""
    chosen = [c for group in groups for c in group if c.outcome == "correct"]
    if config.method in ("sft", "slowed"):
        chosen = [max(group, key=lambda c: (c.advantage, c.outcome == "correct")) for group in groups]
    if config.low_entropy_mask is not None:  # ranked over what the step trains on
        mask(groups if config.method == "advdistill" else [chosen], config.low_entropy_mask)
    if config.method == "advdistill":
        return sum(advdistill(group, config) for group in groups) / len(groups)
    if config.loss.normalise == "token":
        return -sum((c.kept * c.logprobs).sum() for c in chosen) / sum(normaliser(c, config) for c in chosen)
    return sum(cross_entropy(c, config) for c in chosen) / len(chosen)


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
    metrics = trainer.gradients(trainer.step_data(range(len(ROWS))))
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


STUDENT, OVER_ALL = {"entropy_source": "student"}, {"rank": "batch"}
MASKS = [
    ("slowed", {}, None),
    ("slowed", STUDENT, LORA),
    ("sft", {"percent": 50} | OVER_ALL, None),
    ("sft-all-correct", {"percent": 50, "normaliser": "all"} | STUDENT, None),
    ("sft-all-correct", {"percent": 35} | STUDENT | OVER_ALL, LORA),
    ("advdistill", {}, LORA),
    ("advdistill", {"percent": 45} | STUDENT, None),
    ("advdistill", {"percent": 45, "normaliser": "all"}, None),
    ("advdistill", {"percent": 30} | STUDENT | OVER_ALL, None),
]


@pytest.mark.parametrize("loss", [{}, {"normalise": "completion", "cross_entropy": "sum", "contrastive_tokens": "all"}])
@pytest.mark.parametrize(("method", "options", "lora"), MASKS)
def test_a_masked_step_equals_the_equations_in_loss_and_in_every_gradient(folder, method, options, lora, loss):
    no_clipping = {"optimizer": {"max_grad_norm": 1e9}, "tokens_per_micro_batch": 300}
    config = config_of(folder, method=method, loss=loss, lora=lora, low_entropy_mask=options, **no_clipping)
    trainer = trainer_of(config)
    weights, forward = plain_student(trainer)
    metrics = trainer.gradients(trainer.step_data(range(len(ROWS))))
    expected = step_loss([read_group(forward, group) for group in ROWS], config)
    expected.backward()
    assert metrics["loss"] == pytest.approx(expected.item(), rel=1e-6)
    for name, weight in trainer.student.trained_parameters().items():
        scale = weights[name].grad.abs().max()
        torch.testing.assert_close(weight.grad / scale, weights[name].grad / scale, rtol=0, atol=1e-5)


def go_back(weights: dict[str, torch.Tensor], base: dict[str, torch.Tensor], options: SlowTuningConfig) -> float:
    """Section 2.2, with every change formed; the largest of their norms."""
    changes: dict[str, tuple[torch.Tensor, list[str]]] = {}
    for name, weight in weights.items():
        if "lora_A" in name:
            other = name.replace("lora_A", "lora_B")
            changes[name] = (LORA["alpha"] / LORA["rank"] * weights[other] @ weight, [name, other])
        elif "lora_B" not in name and weight.ndim > 1:
            changes[name] = (weight - base[name], [name])
    norms = {name: float(change.norm()) for name, (change, _) in changes.items()}
    together = math.sqrt(sum(norm**2 for norm in norms.values()))
    for name, (change, parts) in changes.items():
        size = norms[name] if options.scope == "module" else together
        ratio = min(1.0, options.tau / size)
        for part in parts:
            weights[part].copy_(weights[part] * math.sqrt(ratio) if len(parts) == 2 else base[part] + ratio * change)
    return max(norms.values())


GUARDED = [
    ("advdistill", None, {"tau": 0.1}),
    ("advdistill", LORA, {"tau": 0.5}),
    ("slowed", None, {"tau": 0.3, "scope": "global", "every": "step"}),
    ("slowed", LORA, {"tau": 0.5, "scope": "global"}),
]


@pytest.mark.parametrize(("method", "lora", "slow_tuning"), GUARDED)
def test_a_run_with_both_guards_equals_the_equations(folder, tmp_path, method, lora, slow_tuning):
    """Two epochs of two steps in plain torch, every change formed and scaled where its norm exceeds tau."""
    options = {"learning_rate": 2e-2, "weight_decay": 0.1, "warmup_ratio": 0.0, "schedule": "constant"}
    guards = {"low_entropy_mask": {"percent": 30, "entropy_source": "student"}, "slow_tuning": slow_tuning}
    config = config_of(folder, method=method, epochs=2, groups_per_step=2, lora=lora, optimizer=options, **guards)
    trainer = make_trainer(config, double=True)
    weights, forward = plain_student(trainer)
    base = {name: weight.detach().clone() for name, weight in weights.items()}
    projector = Projector(config.slow_tuning, trainer.student.model, trainer.optimizer, tmp_path)
    decayed, rest = ([w for w in weights.values() if (w.ndim > 1) == matrix] for matrix in (True, False))
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}], lr=2e-2, foreach=False)
    if rest:
        optimizer.add_param_group({"params": rest, "weight_decay": 0.0})
    went_back = 0
    for step in range(4):
        optimizer.zero_grad()
        groups = [read_group(forward, ROWS[group]) for group in trainer.plan.groups_of(step)]
        loss = step_loss(groups, config)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), config.optimizer.max_grad_norm)
        optimizer.step()
        line = trainer.take_step()
        assert line["loss"] == pytest.approx(loss.item(), rel=1e-5)
        summary = projector.after_step(step + 1, step // 2 + 1, ends_epoch=step % 2 == 1)
        if slow_tuning.get("every") == "step" or step % 2:
            with torch.no_grad():
                largest = go_back(weights, base, config.slow_tuning)
            assert summary["largest_change"] == pytest.approx(largest, rel=1e-4)
            went_back += summary["matrices_shrunk"]
    assert went_back
    for name, weight in trainer.student.trained_parameters().items():
        torch.testing.assert_close(weight, weights[name], rtol=0, atol=2e-5)
