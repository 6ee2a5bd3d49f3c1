"""What a training run has written so far, as curves in panels: data for a picture, without one.

A run that is still being written is read as far as its lines are whole.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from distill.config import TrainConfig
from distill.errors import DistillError
from distill.recipe import load_config
from distill.train.epochs import EVALUATIONS_FILE, LOSS
from distill.train.projections import PROJECTIONS_FILE
from distill.train.report import METRICS_FILE, read_whole_lines
from distill.train.run_folder import CONFIG_FILE, RUN_FILE
from distill.train.trainer import ENTROPY_STEP

LOSS_TERMS = ("loss", "cross_entropy", "contrastive")

Line = dict[str, Any]
Summary = Callable[[list[float]], float]
SUMMARIES: dict[str, Summary] = {"largest": max, "median": median, "smallest": min}


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a panel."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves over the same axes."""

    key: str
    """Its name in a file's name."""
    title: str
    unit: str
    """What is counted upwards."""
    curves: tuple[Curve, ...]
    limits: tuple[tuple[str, float], ...] = ()
    """Values that the recipe sets, by name: what is above or below them was cut."""
    over: str = "step"
    """What is counted to the right."""
    is_share: bool = False
    """Whether all of it lies between 0 and 1."""
    is_exact: bool = False
    """Whether its curves are what a recipe asks for, and not what was measured."""


@dataclass(frozen=True, slots=True)
class RunCurves:
    """All that there is to draw of a run."""

    title: str
    panels: tuple[Panel, ...]
    epoch_ends: tuple[int, ...]
    """The last step of every epoch but the one that is under way."""


def read_curves(run: Path) -> RunCurves:
    """The panels of a training run, finished or under way; those without data are left out.

    Raises:
        DistillError: the folder is no training run, or no step has been taken in it.
    """
    if not (run / METRICS_FILE).is_file() and not (run / RUN_FILE).is_file():
        raise DistillError(f"'{run}' is no training run", hint="name the folder that 'distill train' wrote")
    steps = read_whole_lines(run / METRICS_FILE)
    if not steps:
        raise DistillError(f"'{run}' has no step to draw yet", hint="its first line in metrics.jsonl comes with one")
    config = None
    if (run / CONFIG_FILE).is_file():
        config = load_config(TrainConfig, "train", recipe=run / CONFIG_FILE)
    projections, evaluations = read_whole_lines(run / PROJECTIONS_FILE), read_whole_lines(run / EVALUATIONS_FILE)
    loss, *others = _step_panels(steps, config)
    panels = [loss, *_epoch_panels(evaluations), *others, *_projection_panels(projections, config)]
    last: dict[int, int] = {line["epoch"]: line["step"] for line in steps}
    title = f"{run.name}: {config.method} from {config.model}" if config else run.name
    return RunCurves(title, tuple(panel for panel in panels if panel.curves), tuple(last.values())[:-1])


def _step_panels(steps: Sequence[Line], config: TrainConfig | None) -> list[Panel]:
    clipped = (("max_grad_norm", config.optimizer.max_grad_norm),) if config else ()
    masked = [
        line | {"masked share": line["masked_tokens"] / line["tokens"]} for line in steps if "masked_tokens" in line
    ]
    with_wrong = [line for line in steps if line.get("wrong_probability")]  # 0 where a step has no wrong completion
    return [
        Panel("loss", "Loss and its terms", "nats", _curves(steps, [*LOSS_TERMS, LOSS])),
        Panel("grad_norm", "Gradient before clipping", "norm", _curves(steps, ["grad_norm"]), clipped),
        Panel("learning_rate", "Learning rate", "", _curves(steps, ["learning_rate"]), is_exact=True),
        Panel("entropy", "Student's entropy", "nats per token", _curves(steps, ["entropy"])),
        Panel(
            "entropy_histogram", "Tokens by the student's entropy", "share of tokens", _histograms(steps),
            over="nats", is_exact=True,
        ),
        Panel(
            "wrong_probability", "Probability of wrong completions", "mean of tokens",
            _curves(with_wrong, ["wrong_probability"]), is_share=True,
        ),
        Panel("masked", "Tokens that are masked", "share", _curves(masked, ["masked share"]), is_share=True),
        Panel("speed", "Tokens learnt per second", "tokens/s", _curves(steps, ["tokens_per_second"])),
    ]  # fmt: skip


def _projection_panels(lines: Sequence[Line], config: TrainConfig | None) -> list[Panel]:
    """Over all matrices of each projection, since a model has hundreds."""
    options = config.slow_tuning if config else None
    norms = dict(SUMMARIES)
    if options is not None and options.scope == "global":
        norms["all together"] = lambda values: math.hypot(*values)
    limits = (("tau", options.tau),) if options is not None and math.isfinite(options.tau) else ()
    ratios = _summaries(lines, "ratio", SUMMARIES)
    return [
        Panel(
            "slow_tuning", "Change of each matrix since the start", "norm, before it goes back",
            _summaries(lines, "norm", norms), limits,
        ),
        Panel("clip_ratio", "What changes are multiplied by", "ratio", ratios, is_share=True),
    ]  # fmt: skip


def _epoch_panels(lines: Sequence[Line]) -> list[Panel]:
    measured = [name for name in dict.fromkeys(key for line in lines for key in line) if _is_share(lines, name)]
    return [
        Panel("validation_loss", "Loss on groups held out", "nats", _curves(lines, [LOSS], "epoch"), over="epoch"),
        Panel("accuracy", "Measured after each epoch", "share", _curves(lines, measured, "epoch"), over="epoch"),
    ]


def _is_share(lines: Sequence[Line], name: str) -> bool:
    values = [line[name] for line in lines if _is_number(line.get(name))]
    return name not in ("step", "epoch", LOSS) and bool(values) and all(0 <= value <= 1 for value in values)


def _curves(lines: Sequence[Line], names: Iterable[str], over: str = "step") -> tuple[Curve, ...]:
    """A curve for each name that has a number; a step that was not finite has none."""
    found = []
    for name in names:
        points = [(line[over], line[name]) for line in lines if _is_number(line.get(name))]
        if points:
            x, y = zip(*points, strict=True)
            found.append(Curve(name, x, y))
    return tuple(found)


def _histograms(steps: Sequence[Line]) -> tuple[Curve, ...]:
    """The entropies of the first and the last epoch's tokens, by the middles of bins; the last is all beyond."""
    counts: dict[int, list[int]] = {}
    for line in steps:
        own = line.get("entropy_counts")
        if own:
            counts[line["epoch"]] = [a + b for a, b in zip(counts.get(line["epoch"], [0] * len(own)), own, strict=True)]
    found = []
    for epoch in dict.fromkeys((min(counts, default=0), max(counts, default=0))):
        own = counts.get(epoch, [])
        middles = tuple((place + 0.5) * ENTROPY_STEP for place in range(len(own)))
        if sum(own):
            found.append(Curve(f"epoch {epoch}", middles, tuple(number / sum(own) for number in own)))
    return tuple(found)


def _summaries(lines: Sequence[Line], name: str, summaries: dict[str, Summary]) -> tuple[Curve, ...]:
    """For each summary a curve over the steps at which all matrices were looked at."""
    values: dict[int, list[float]] = defaultdict(list)
    for line in lines:
        values[line["step"]].append(line[name])
    if not values:
        return ()
    steps = tuple(values)
    return tuple(Curve(how, steps, tuple(map(summary, values.values()))) for how, summary in summaries.items())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
