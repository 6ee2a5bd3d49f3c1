"""What the commands around a training run say: what it would do, and what became of its student."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from distill.terminal.consoles import print_json, stderr, stdout

if TYPE_CHECKING:
    from distill.train.merging import MergeReport


def show_merged(report: MergeReport, *, as_json: bool = False) -> None:
    """What became of an adapter and its base; the new model's folder goes to stdout."""
    if as_json:
        return print_json(report)
    console = stderr()
    console.print(f"[bold]{escape(report.adapter)}[/] and {escape(report.base)}, merged in float32, {report.dtype} now")
    console.print(
        f"logits differ by at most {report.largest_difference:.2g} from those of base and adapter, "
        f"{report.merging_difference:.2g} before rounding; the largest is {report.largest_logit:.3g}, "
        f"and the adapter changed them by up to {report.largest_change:.2g}"
    )
    console.print(f"the most likely next token is the same after {report.same_choice} of {report.tokens} tokens")
    return stdout().print(report.model, soft_wrap=True, markup=False)
