"""What the commands around a training run say: what it would do, and what became of its student."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from distill.terminal.consoles import print_json, stderr, stdout
from distill.terminal.runs import duration

if TYPE_CHECKING:
    from distill.train.dry_run import TrainingPlan
    from distill.train.merging import MergeReport
    from distill.train.plotting import PlotReport


def show_training_plan(plan: TrainingPlan, *, as_json: bool = False) -> None:
    """What 'distill train --dry-run' found out without loading a weight."""
    if as_json:
        return print_json(plan)
    data, passes, student = plan.data, plan.passes, plan.student
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("dataset", escape(plan.dataset))
    table.add_row("student", escape(f"{plan.model}, {student.parameters:,} weights, {student.trained:,} trained"))
    table.add_row("method", escape(plan.method))
    table.add_row("groups", f"{data.groups:,} of {data.groups_in_dataset:,}")
    if plan.validation_groups:
        table.add_row("", f"{plan.validation_groups:,} of them held out")
    table.add_row("completions", f"{data.completions:,}")
    table.add_row("tokens", f"{data.tokens:,} learnt in an epoch, {passes.read_tokens:,} read")
    if plan.tokens_are == "the teacher's":
        table.add_row("", "[yellow]in the teacher's tokens: the student's tokenizer is not at hand[/]")
    table.add_row("sharing", f"{passes.sharing_ratio:.2f} times as many with a prompt for every completion")
    if not passes.packed:
        table.add_row("", f"[yellow]every completion in a row of its own: {escape(passes.why_rows)}[/]")
    steps = plan.steps // plan.epochs
    table.add_row(
        "steps", f"{plan.steps:,} in {plan.epochs} epochs of {steps:,}, {passes.passes_per_step:.1f} passes each"
    )
    table.add_row("largest pass", f"{passes.largest_tokens:,} tokens")
    _add_memory(table, plan)
    device = plan.device
    table.add_row(
        "time",
        f"about {duration(device.seconds)}: {device.flops:.3g} FLOP at {device.flops_per_second / 1e12:.3g} TFLOP/s, "
        f"{device.assumed_share:.0%} of one product of {device.dtype} on {escape(device.device)}",
    )
    console = stdout()
    console.print(table)
    return console.rule("nothing was trained", style="dim")


def _add_memory(table: Table, plan: TrainingPlan) -> None:
    """What it takes, part by part, and whether there is room for it."""
    parts = {
        name: getattr(plan.memory, name)
        for name in ("weights", "gradients", "moments", "copies", "logits", "activations")
    }
    without, with_, room = plan.total_bytes, plan.checkpointed_bytes, plan.device.memory_bytes
    told = ", ".join(f"{name} {_size(size)}" for name, size in parts.items() if size)
    asked = with_ if plan.gradient_checkpointing else without
    table.add_row("memory", f"[bold]{_size(asked)}[/]" + ("" if room is None else f" of {_size(room)}"))
    table.add_row("", f"{told}; {_size(plan.memory.checkpointed)} with gradient checkpointing")
    if plan.student.not_counted:
        table.add_row("", f"[yellow]activations are assumed, not counted: {escape(plan.student.not_counted)}[/]")
    if room is not None and asked > room:
        way = "set gradient_checkpointing=true" if with_ < room else "lower tokens_per_micro_batch, or use lora"
        table.add_row("", f"[red]more than there is: {way}[/]")


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count < 1e8 else f"{count / 1e9:.1f} GB"


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


def show_plotted(report: PlotReport, *, as_json: bool = False) -> None:
    """The pictures of a run; the one with all panels goes to stdout."""
    if as_json:
        return print_json(report)
    stderr().print(f"panels: {escape(', '.join(report.panels))}; each is a file of its own, too, as PNG and as SVG")
    return stdout().print(report.files[0], soft_wrap=True, markup=False)
