"""Curves as pictures: one with all panels, and one for each; PNG for looking, SVG for papers.

Colours are those of Okabe and Ito, which people who see colours differently tell apart; line styles differ as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.train.curves import Curve, Panel, RunCurves, read_curves

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1)), (0, (3, 3)))
GREY = "#666666"
PANELS_PER_ROW = 3
PANEL_INCHES = (4.6, 3.1)
SMOOTHED_BEYOND = 60
"""Points of a curve from which on its running mean is drawn over it."""
STYLE: Any = {
    "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.grid": True,
    "axes.spines.top": False, "axes.spines.right": False, "grid.color": "#e4e4e4", "grid.linewidth": 0.6,
    "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.5, "svg.fonttype": "none",
    "svg.hashsalt": "distill",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlotReport:
    """Pictures of a run."""

    run: str
    files: tuple[str, ...]
    """The picture with all panels first."""
    panels: tuple[str, ...]


def plot_run(run: Path, out: Path | None = None) -> PlotReport:
    """Draw what a training run, finished or under way, has written so far.

    Args:
        out: a folder for the pictures; ``plots`` in the run if not given.

    Raises:
        DistillError: matplotlib is not installed, the folder is no training run, or it has no step yet.
    """
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        raise DistillError(
            "plots need matplotlib, which is not installed", hint="pip install 'distill-reasoning[plot]'"
        ) from None
    curves = read_curves(run)
    folder = out or run / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        files = _save(_figure(curves, curves.panels), folder / "training")
        for panel in curves.panels:
            files += _save(_figure(curves, (panel,)), folder / panel.key)
    return PlotReport(str(run), tuple(files), tuple(panel.key for panel in curves.panels))


def _figure(curves: RunCurves, panels: tuple[Panel, ...]) -> Any:
    """A figure of panels in rows; nothing of it depends on a display."""
    from matplotlib.figure import Figure

    columns = min(PANELS_PER_ROW, len(panels))
    rows = -(-len(panels) // columns)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * columns, height * rows + 0.4), layout="constrained")
    figure.suptitle(curves.title, x=0.01, ha="left", fontsize=11)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, panel in zip(axes, panels, strict=False):
        _draw(place, panel, curves.epoch_ends)
    for place in axes[len(panels) :]:
        place.remove()
    return figure


def _draw(axes: Any, panel: Panel, epoch_ends: tuple[int, ...]) -> None:
    """One panel."""
    from matplotlib.ticker import MaxNLocator

    for number, curve in enumerate(panel.curves):
        is_noisy = len(curve.x) > SMOOTHED_BEYOND and not panel.is_exact
        _draw_curve(axes, curve, (COLOURS[number % len(COLOURS)], STYLES[number % len(STYLES)]), is_noisy=is_noisy)
    for name, value in panel.limits:
        axes.axhline(value, color=GREY, linewidth=1, linestyle=(0, (4, 2)), label=f"{name} = {value:g}")
    ends = epoch_ends if panel.over == "step" else ()
    for step in ends:
        axes.axvline(step + 0.5, color="#cccccc", linewidth=0.7, zorder=0)
    axes.set_title(panel.title)
    axes.set_xlabel("step; a line ends an epoch" if ends else panel.over)
    axes.set_ylabel(panel.unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 5))
    if panel.is_share:
        axes.set_ylim(-0.03, 1.03)
    elif min(min(curve.y) for curve in panel.curves) >= 0:
        axes.set_ylim(bottom=0)
    axes.legend(loc="best")


def _draw_curve(axes: Any, curve: Curve, look: tuple[str, Any], *, is_noisy: bool) -> None:
    """A curve in its colour and style; a noisy one pale, with its running mean over it."""
    colour, style = look
    values, marker = curve.y, "o" if len(curve.x) <= 20 else None
    if is_noisy:
        axes.plot(curve.x, curve.y, color=colour, linewidth=0.6, alpha=0.3)
        values = running_mean(curve.y, window=len(curve.x) // 50 + 1)
    axes.plot(curve.x, values, color=colour, linestyle=style, marker=marker, markersize=3.5, label=curve.name)


def running_mean(values: tuple[float, ...], window: int) -> tuple[float, ...]:
    """Each value's mean with up to ``window`` neighbours on each side, fewer at the ends.

    >>> running_mean((0.0, 3.0, 6.0, 3.0), window=1)
    (1.5, 3.0, 4.0, 4.5)
    """
    sums = [0.0, *accumulate(values)]
    ends = [(max(0, place - window), min(len(values), place + window + 1)) for place in range(len(values))]
    return tuple((sums[end] - sums[start]) / (end - start) for start, end in ends)


def _save(figure: Any, path: Path) -> list[str]:
    files = [path.with_name(f"{path.name}.{kind}") for kind in ("png", "svg")]
    figure.savefig(files[0], dpi=150)
    figure.savefig(files[1], metadata={"Date": None})  # the same run, the same file
    return [str(file) for file in files]
