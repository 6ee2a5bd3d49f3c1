"""The rungs: what is trained, and in which table or figure it stands.

``ladder.yaml`` holds what they share; a rung says only what differs, in the words of ``--set``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STUDENT = Path(__file__).parent / "student"
TAU, PERCENT = 1.0, 20
"""SLowED's guards as this project sets them; the paper names neither."""
TAUS, PERCENTS = (0.1, 0.5, TAU, 10.0), (0, 10, PERCENT, 30, 50)


@dataclass(frozen=True, slots=True)
class Rung:
    """One model: trained with these settings, or taken as it is."""

    name: str
    title: str
    sets: tuple[str, ...] = ()
    model: str = ""
    """A model that is measured and not trained."""
    preset: str = ""
    """Boundary values of the cosine reward, where they are not AdvDistill's."""
    by_epoch: bool = False
    """Measured after every epoch, too."""


def _advdistill(name: str, title: str, *sets: str, preset: str = "") -> Rung:
    return Rung(name, title, ("method=advdistill", "loss.contrastive_weight=0.5", *sets), preset=preset)


def _by_epoch(name: str, title: str, *sets: str, tau: float | None = None, percent: int | None = None) -> Rung:
    """As SLowED trains: ten epochs, a step schedule; SFT where no other method is named."""
    guards = [f"slow_tuning={tau:g}"] if tau else []
    guards += [f"low_entropy_mask={percent}"] if percent else []
    shared = ("method=sft", "epochs=10", "optimizer.schedule=step")
    return Rung(name, title, (*shared, *guards, *sets), by_epoch=True)


def _composed(name: str, title: str, *sets: str, tau: float | None = None, percent: int | None = None) -> Rung:
    advdistill = ("method=advdistill", "loss.contrastive_weight=0.05")
    return _by_epoch(name, title, *advdistill, *sets, tau=tau, percent=percent)


UNTRAINED = (Rung("teacher", "teacher", model="tiny-teacher"), Rung("base", "base student", model=str(STUDENT)))
ADVDISTILL = (
    Rung("sft", "SFT on the best", ("method=sft",)),
    Rung("sft-all-correct", "SFT on all correct", ("method=sft-all-correct",)),
    _advdistill("advdistill", "AdvDistill"),
    _advdistill("advdistill-3", "AdvDistill, 3 completions", "completions_per_group=3"),
    _advdistill("lambda-005", "AdvDistill, lambda 0.05", "loss.contrastive_weight=0.05"),
)
GUARDS = (
    _by_epoch("plain", "plain distillation"),
    _by_epoch("slow-tuning", "Slow Tuning alone", tau=TAU),
    _by_epoch("masking", "Low-Entropy Masking alone", percent=PERCENT),
    _by_epoch("slowed", "both (SLowED)", tau=TAU, percent=PERCENT),
)
SWEEP_TAU = tuple(_by_epoch(f"tau-{tau:g}", f"tau {tau:g}", tau=tau) for tau in TAUS if tau != TAU)
SWEEP_PERCENT = tuple(_by_epoch(f"k-{k}", f"k {k} %", percent=k) for k in PERCENTS if k not in (0, PERCENT))
COMPOSITION = (
    _composed("advdistill-10", "AdvDistill, 10 epochs"),
    _composed("advdistill-guarded", "AdvDistill with both guards", tau=TAU, percent=PERCENT),
    _composed(
        "advdistill-guarded-all", "the same, masked tokens pushed away", "loss.contrastive_tokens=all",
        tau=TAU, percent=PERCENT,
    ),
)  # fmt: skip

LOSS_ABLATIONS = (
    _advdistill("lambda-0", "lambda 0", "loss.contrastive_weight=0"),
    _advdistill("sum", "contrastive term summed", "loss.contrastive_reduction=sum"),
    _advdistill("mean-over-wrong", "contrastive mean over wrong", "loss.contrastive_reduction=mean_over_wrong"),
    _advdistill("weighted", "contrastive weighted by w_i", "loss.contrastive_weighting=w_i"),
    _advdistill("wrong-by-advantage", "wrong: negative advantage", "loss.wrong=negative_advantage"),
    _advdistill("p-max-09", "p_max 0.9", "loss.max_probability=0.9"),
    _advdistill("p-max-0999", "p_max 0.999", "loss.max_probability=0.999"),
    _advdistill("geometric", "geometric mean probability", "loss.mean_probability=geometric"),
    _advdistill("unshared", "pushed behind what is shared", "loss.contrastive_tokens=unshared"),
    _advdistill(
        "unshared-005", "the same, lambda 0.05", "loss.contrastive_tokens=unshared", "loss.contrastive_weight=0.05"
    ),
    _advdistill("ce-sum", "cross entropy summed", "loss.cross_entropy=sum"),
    *(_advdistill(f"reward-{name}", f"cosine of {name}", preset=name) for name in ("open-rs", "open-r1", "yeo")),
)
GUARD_ABLATIONS = (
    _by_epoch("tau-global", "tau 1 over all matrices", "slow_tuning.scope=global", tau=TAU),
    _by_epoch("tau-global-10", "tau 10 over all matrices", "slow_tuning.scope=global", tau=10),
    _by_epoch("mask-student", "student's entropies", "low_entropy_mask.entropy_source=student", percent=PERCENT),
)

SHORT = (*UNTRAINED, *ADVDISTILL, *GUARDS, *COMPOSITION, *SWEEP_TAU, *SWEEP_PERCENT)
FULL = (*SHORT, *LOSS_ABLATIONS, *GUARD_ABLATIONS)
BY_NAME = {rung.name: rung for rung in FULL}
