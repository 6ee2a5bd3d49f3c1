"""The tables and figures of docs/ladder.md, from the results of finished rungs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.ladder.climb import RESULT_FILE, Result
from benchmarks.ladder.rungs import (
    ADVDISTILL,
    BY_NAME,
    COMPOSITION,
    GUARD_ABLATIONS,
    GUARDS,
    LOSS_ABLATIONS,
    SWEEP_PERCENT,
    SWEEP_TAU,
    UNTRAINED,
    Rung,
)
from distill.files import write_atomically

REPOSITORY = Path(__file__).parents[2]
RESULTS, PAGE = REPOSITORY / "benchmarks" / "results" / "ladder.json", REPOSITORY / "docs" / "ladder.md"
PICTURES = REPOSITORY / "docs" / "img"
T_QUANTILES = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Of Student's t, two-sided 95 %, by degrees of freedom."""
PER_EPOCH = ("epoch", "loss", "accuracy", "safety_ratio", "forbidden_refuses", "harmless_complies")
Results = dict[str, list[Result]]
Measure = Callable[[Result], float | None]


def write_pages(out: Path, seeds: Iterable[int]) -> None:
    """Gather what is finished, and write numbers, tables and figures."""
    results = {name: gather(out, name, seeds) for name in BY_NAME}
    results = {name: found for name, found in results.items() if found}
    lines = (f"{json.dumps(name)}: {json.dumps(found)}" for name, found in results.items())
    write_atomically(RESULTS, "{\n" + ",\n".join(lines) + "\n}\n")
    page = PAGE.read_text(encoding="utf-8")
    for name, table in tables(results).items():
        page = re.sub(
            rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", lambda m, t=table: m[1] + t + m[2], page, flags=re.DOTALL
        )
    write_atomically(PAGE, page)
    draw(results)


def gather(out: Path, name: str, seeds: Iterable[int]) -> list[Result]:
    paths = [out / f"seed-{seed}" / name / RESULT_FILE for seed in seeds]
    return [_brief(json.loads(path.read_text(encoding="utf-8"))) for path in paths if path.is_file()]


def _brief(result: Result) -> Result:
    """Without what no table or figure shows of the epochs."""
    epochs = [{name: epoch[name] for name in PER_EPOCH if name in epoch} for epoch in result.get("epochs", ())]
    return {**result, "epochs": epochs}


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half of the 95 % interval that seeds alone tell of; 0 for a single value.

    >>> mean, half = mean_interval([0.80, 0.82, 0.84])  # a standard error of 0.02 / sqrt(3), times 4.303
    >>> round(mean, 3), round(half, 4)
    (0.82, 0.0497)
    """
    if len(values) < 2:
        return fmean(values), 0.0
    return fmean(values), T_QUANTILES[len(values) - 1] * stdev(values) / sqrt(len(values))


def accuracy_on_test(result: Result) -> float:
    return float(result["stories"]["arithmetic:test"]["accuracy"])


def _of_test(name: str) -> Measure:
    return lambda result: result["stories"]["arithmetic:test"][name]


def _ood(result: Result) -> float:
    return float(result["stories"]["arithmetic:ood"]["accuracy"])


def _at(name: str) -> Measure:
    return lambda result: result.get(name)


REQUEST_COLUMNS: dict[str, Measure] = {
    "safety ratio %": _at("safety_ratio"),
    "forbidden, refused %": _at("forbidden_refuses"),
    "alike, refused %": _at("alike_refuses"),
    "harmless, complied %": _at("harmless_complies"),
}


def tables(results: Results) -> dict[str, str]:
    """Markdown by the name of its place in the page."""
    behaviour: dict[str, Measure] = {
        "tokens": _of_test("tokens"),
        "verbosity": _of_test("verbosity"),
        "degeneracy": _of_test("degeneracy"),
        "template %": _of_test("template"),
    }
    stories: dict[str, Measure] = {"test %": accuracy_on_test, "out of distribution %": _ood}
    guarded = {**stories, **REQUEST_COLUMNS}
    return {
        "advdistill": _table(results, (*UNTRAINED, *ADVDISTILL), {**stories, **behaviour}, "sft", costs=True),
        "guards": _table(results, (UNTRAINED[1], *GUARDS), guarded, "plain"),
        "tau": _table(results, (GUARDS[0], SWEEP_TAU[0], SWEEP_TAU[1], GUARDS[1], SWEEP_TAU[2]), guarded, "plain"),
        "percent": _table(
            results, (GUARDS[0], SWEEP_PERCENT[0], GUARDS[2], *SWEEP_PERCENT[1:]), guarded, "plain"
        ),
        "composition": _table(results, (GUARDS[0], GUARDS[3], *COMPOSITION), guarded, "plain"),
        "loss-ablations": _table(
            results, (*(rung for rung in ADVDISTILL if rung.name != "advdistill-3"), *LOSS_ABLATIONS),
            {**stories, "tokens": _of_test("tokens")}, "advdistill",
        ),
        "guard-ablations": _table(results, (*GUARDS[:3], *GUARD_ABLATIONS), guarded, "plain"),
    }  # fmt: skip


def _table(
    results: Results, rungs: Iterable[Rung], columns: dict[str, Measure], reference: str, *, costs: bool = False
) -> str:
    """One line a rung: means over seeds with their intervals, and the difference from a reference, seed by seed."""
    names = [rung for rung in rungs if rung.name in results]
    against = f"test, from {BY_NAME[reference].title}"
    heads = ["", next(iter(columns)), against, *list(columns)[1:], *(["CPU seconds, of SFT's"] if costs else [])]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for rung in names:
        found = results[rung.name]
        cells = [_cell(head, [measure(result) for result in found]) for head, measure in columns.items()]
        lines.append([rung.title, cells[0], _difference(results, rung.name, reference), *cells[1:]])
        if costs:
            lines[-1].append(_cost(results, rung.name))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(head: str, values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean, half = mean_interval(known)
    if "%" in head:
        return f"{100 * mean:.1f}" + (f" ± {100 * half:.1f}" if len(known) > 1 else "")
    return f"{mean:.1f}" if mean >= 10 else f"{mean:.2f}"


def _difference(results: Results, name: str, reference: str) -> str:
    """Mean difference in points with its interval, bold where that leaves out 0; both have the same groups and seed."""
    ours, theirs = results[name], results.get(reference, [])
    if name == reference or len(ours) != len(theirs) or len(ours) < 2:
        return ""
    mean, half = mean_interval([accuracy_on_test(a) - accuracy_on_test(b) for a, b in zip(ours, theirs, strict=True)])
    text = f"{100 * mean:+.1f} ± {100 * half:.1f}"
    return f"**{text}**" if abs(mean) > half else text


def _cost(results: Results, name: str) -> str:
    ours, theirs = results[name], results.get("sft", [])
    if "cpu_seconds" not in ours[0] or len(ours) != len(theirs):
        return "–"
    return f"{fmean(a['cpu_seconds'] / b['cpu_seconds'] for a, b in zip(ours, theirs, strict=True)):.1f}"


def draw(results: Results) -> None:
    """The figures that have all of their rungs."""
    import matplotlib as mpl

    from distill.train.plotting import STYLE

    with mpl.rc_context(STYLE):
        if all(rung.name in results for rung in (*GUARDS, UNTRAINED[1])):
            _by_epoch(results, GUARDS, "ladder-guards")
        if all(rung.name in results for rung in (*COMPOSITION, UNTRAINED[1])):
            _by_epoch(results, (GUARDS[0], GUARDS[3], *COMPOSITION), "ladder-composition")
        _trade(results)


def _by_epoch(results: Results, rungs: Sequence[Rung], name: str) -> None:
    """Accuracy and safety ratio after every epoch: the mean over seeds, and each seed pale."""
    from matplotlib.figure import Figure

    from distill.train.plotting import COLOURS, STYLES

    base = results["base"][0]
    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    panels = (("accuracy", "accuracy on the stories", accuracy_on_test(base)), ("safety_ratio", "safety ratio", None))
    for axes, (key, title, first) in zip(figure.subplots(1, 2), panels, strict=True):
        start = base[key] if first is None else first
        for number, rung in enumerate(rungs):
            runs = [[start, *(epoch[key] for epoch in result["epochs"])] for result in results[rung.name]]
            colour, style = COLOURS[number], STYLES[number]
            for run in runs:
                axes.plot(range(len(run)), run, color=colour, linewidth=0.6, alpha=0.35)
            means = [fmean(values) for values in zip(*runs, strict=True)]
            axes.plot(range(len(means)), means, color=colour, linestyle=style, label=rung.title)
        axes.set(title=title, xlabel="epoch; 0 is the base student", ylim=(-0.03, 1.03))
    figure.axes[1].legend(loc="lower left")
    _save(figure, name)


def _trade(results: Results) -> None:
    """What safety each setting costs in accuracy: one point a rung, the mean over seeds after the last epoch."""
    from matplotlib.figure import Figure

    from distill.train.plotting import COLOURS

    plain, slow_tuning, masking, both = GUARDS
    families = (
        ("Slow Tuning, tau", "s-", [(plain, "none"), (SWEEP_TAU[2], ""), (slow_tuning, "1"), (SWEEP_TAU[1], "0.5"),
                                    (SWEEP_TAU[0], "0.1")]),
        ("Low-Entropy Masking, k %", "^--", [(plain, ""), (SWEEP_PERCENT[0], "10"), (masking, "20"),
                                             (SWEEP_PERCENT[1], "30"), (SWEEP_PERCENT[2], "50")]),
        ("both, tau 1 and k 20 %", "o", [(both, "")]),
        ("AdvDistill with both", "D", [(COMPOSITION[1], "")]),
    )  # fmt: skip
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, (title, look, members) in enumerate(families):
        points = [(_place(results[rung.name]), label) for rung, label in members if rung.name in results]
        if points:
            axes.plot(*zip(*(place for place, _ in points), strict=True), look, color=COLOURS[number], label=title)
        for place, label in points:
            axes.annotate(label, place, textcoords="offset points", xytext=(6, 5), fontsize=8, color=COLOURS[number])
    axes.set(xlabel="accuracy on the stories", ylabel="safety ratio", title="after the last epoch")
    axes.legend(loc="lower left")
    _save(figure, "ladder-trade")


def _place(found: Sequence[Result]) -> tuple[float, float]:
    """Mean accuracy and safety ratio."""
    return fmean(accuracy_on_test(result) for result in found), fmean(result["safety_ratio"] for result in found)


def _save(figure: Any, name: str) -> None:
    figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None})
