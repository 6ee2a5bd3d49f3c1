"""What the epochs of a run look like when a guard of SLowED is missing or wrongly set, and the option to turn.

The paper's ablations (arXiv:2508.09666) show two ways in which a student loses its safety. Without Slow Tuning the
first epochs take it, since weights run far at once; without low-entropy masking the later ones do, since the student
goes on imitating what it was sure of. A third way is to learn nothing, when guards hold too tight.

Thresholds are this project's own: a share that falls by a tenth has left the noise of the paper's 80 safety prompts
(standard error 5 % at a half) behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from distill.train.epochs import ACCURACY, LOSS

if TYPE_CHECKING:
    from distill.config import TrainConfig

SAFETY = ("safety_ratio", "advbench")
"""Names under which a share of harmful requests that were refused or answered safely may stand."""
EARLY_EPOCHS = 5
"""Of the paper's ten; of a shorter run its first half."""
CRASH = 0.1
"""Fall of a share from its highest so far that is a crash."""
LOSS_CRASH = 0.25
"""Rise of the loss on held-out groups, as a share of its lowest so far, that is one."""
STAGNATION, LOSS_STAGNATION = 0.01, 0.05
"""Rise of accuracy, and fall of the loss as a share of the first, below which nothing was learnt."""
FEWEST_EPOCHS = 3
"""Of which anything is said."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A way in which a run went wrong."""

    name: Literal["early crash", "late crash", "stagnation"]
    measure: str
    """What shows it."""
    epoch: int
    """When it was first seen; the last epoch for stagnation."""
    change: float
    """Of the measure: from its best before to the worst from there on, or from the first epoch to the last."""
    option: str
    """The option to turn."""
    advice: str


def failure_patterns(epochs: Sequence[Mapping[str, float]], config: TrainConfig) -> tuple[Pattern, ...]:
    """The patterns that a run's epochs show; none in fewer than three.

    Args:
        epochs: of a report, in their order: means over steps, and what was measured after each. One numbered 0 is
            the base student.

    >>> from distill.config import TrainConfig
    >>> safety = [0.9, 0.6, 0.55, 0.5]
    >>> lines = [{"epoch": n, "safety_ratio": value} for n, value in enumerate(safety, start=1)]
    >>> [(found.name, found.epoch, found.option) for found in failure_patterns(lines, TrainConfig(method="sft"))]
    [('early crash', 2, 'slow_tuning')]
    """
    if len(epochs) < FEWEST_EPOCHS:
        return ()
    crashes = [_crash(epochs, measure, config) for measure in (*SAFETY, ACCURACY, LOSS)]
    found = tuple(crash for crash in crashes if crash is not None)
    stagnation = None if found else _stagnation(epochs, config)
    return found if stagnation is None else (stagnation,)


def _crash(epochs: Sequence[Mapping[str, float]], measure: str, config: TrainConfig) -> Pattern | None:
    """The first fall of a share from its highest so far that is a crash, or rise of the loss from its lowest."""
    points = _points(epochs, measure)
    best_of, worst_of = (min, max) if measure == LOSS else (max, min)
    for place, (epoch, value) in enumerate(points):
        best = best_of(earlier for _, earlier in points[: place + 1])
        if abs(value - best) > (LOSS_CRASH * abs(best) if measure == LOSS else CRASH):
            worst = worst_of(later for _, later in points[place:])
            is_early = epoch <= min(EARLY_EPOCHS, -(-points[-1][0] // 2))
            option, advice = _mend(measure, config, is_early=is_early)
            return Pattern("early crash" if is_early else "late crash", measure, epoch, worst - best, option, advice)
    return None


def _mend(measure: str, config: TrainConfig, *, is_early: bool) -> tuple[str, str]:
    """The option that a crash points to, and what to do with it."""
    if is_early:
        if config.slow_tuning is None:
            return "slow_tuning", "hold weights near where they started: slow_tuning.tau=1"
        return "slow_tuning.tau", f"weights may still change by {config.slow_tuning.tau:g}: lower slow_tuning.tau"
    if measure == LOSS:
        return "epochs", "it fits what it is shown and nothing else: fewer epochs, or keep=best"
    if config.low_entropy_mask is None:
        return "low_entropy_mask", "do not train on what is certain anyway: low_entropy_mask.percent=20"
    percent = config.low_entropy_mask.percent
    return "low_entropy_mask.percent", f"only {percent:g} % of the tokens are masked: raise low_entropy_mask.percent"


def _stagnation(epochs: Sequence[Mapping[str, float]], config: TrainConfig) -> Pattern | None:
    """Neither accuracy rose nor a loss fell; None where one of them did, or neither is known."""
    changes: dict[str, float] = {}
    for measure in (ACCURACY, LOSS, "loss"):
        values = [value for _, value in _points(epochs, measure)]
        if len(values) >= FEWEST_EPOCHS:
            changes[measure] = values[-1] - values[0]
            limit = STAGNATION if measure == ACCURACY else LOSS_STAGNATION * abs(values[0])
            gained = changes[measure] if measure == ACCURACY else -changes[measure]
            if gained >= limit:
                return None
    if not changes:
        return None
    measure, last = next(iter(changes)), int(epochs[-1]["epoch"])
    return Pattern("stagnation", measure, last, changes[measure], *_loosen(epochs, config))


def _loosen(epochs: Sequence[Mapping[str, float]], config: TrainConfig) -> tuple[str, str]:
    """The option that holds too tight."""
    if config.slow_tuning is not None and epochs[-1].get("smallest_ratio", 1.0) < 1:
        return "slow_tuning.tau", f"weights are held to {config.slow_tuning.tau:g} of change: raise slow_tuning.tau"
    if config.low_entropy_mask is not None and config.low_entropy_mask.percent >= 50:
        percent = config.low_entropy_mask.percent
        return "low_entropy_mask.percent", f"{percent:g} % of the tokens are masked: lower low_entropy_mask.percent"
    rate = config.optimizer.learning_rate
    return "optimizer.learning_rate", f"steps are too small at {rate:g}: raise optimizer.learning_rate"


def _points(epochs: Sequence[Mapping[str, float]], measure: str) -> list[tuple[int, float]]:
    return [(int(line["epoch"]), line[measure]) for line in epochs if measure in line]
