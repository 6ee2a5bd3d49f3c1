"""What a command that made something says at its end, and what a dry run would make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from distill.terminal.charts import bar
from distill.terminal.consoles import print_json, printable, stderr, stdout
from distill.terminal.evaluation import number, percent

if TYPE_CHECKING:
    from rich.console import Console

    from distill.curate.decontaminate import DecontaminationReport
    from distill.curate.entropy_summary import EntropySummary
    from distill.curate.pipeline import CurateResult, ShardResult
    from distill.curate.plan import RunPlan
    from distill.curate.watch import RunStatus, ShardStatus, Snapshot
    from distill.train.report import TrainReport

SHOWN_QUESTION = 160
"""Characters of a problem that is left out."""
SHOWN_PROMPT = 4000
"""Characters of a prompt that people look at; --json has all of it."""

MOST_EPOCHS = 6
"""Columns of a table of epochs that fit a narrow terminal."""


def show_plan(plan: RunPlan, *, as_json: bool = False) -> None:
    """What 'distill curate --dry-run' found out without sampling."""
    if as_json:
        return print_json(plan)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("source", escape(f"{plan.source}, split {plan.split}"))
    table.add_row("teacher", escape(f"{plan.teacher} ({plan.backend})"))
    table.add_row("engine", _engine(plan))
    table.add_row("problems", f"{plan.problems:,}")
    for reason, count in plan.rejected.items():
        table.add_row("", f"[yellow]{count:,} left out: {escape(reason)}[/]")
    for name, said in _comparison(plan.decontamination):
        table.add_row(name, said)
    _add_tokens(table, plan)
    console = stdout()
    console.print(table)
    if plan.examples:
        console.rule("left out, for example", style="dim")
    for example in plan.examples:
        repeats = f" [dim]({escape(example.detail)})[/]" if example.detail else ""
        console.print(f"[yellow]{escape(example.reason)}[/] {escape(example.id)}{repeats}")
        console.print(escape(printable(" ".join(example.question.split()))[:SHOWN_QUESTION]), style="dim")
    console.rule("the first prompt, as the teacher reads it", style="dim")
    console.print(printable(plan.first_prompt[:SHOWN_PROMPT]), markup=False)
    if len(plan.first_prompt) > SHOWN_PROMPT:
        console.print(f"[dim]… and {len(plan.first_prompt) - SHOWN_PROMPT:,} characters more[/]")
    if plan.opens_think:
        console.print("[dim]the chat template opens <think> itself: completions begin inside it[/]")
    return console.rule("nothing was sampled", style="dim")


def _engine(plan: RunPlan) -> str:
    if plan.engine.ok:
        return escape(plan.engine.detail)
    return f"[red]{escape(plan.engine.detail)}[/]; {escape(plan.engine.hint)}"


def _comparison(report: DecontaminationReport | None) -> Iterator[tuple[str, str]]:
    """What the problems were compared with, and what they were not: a name and what stands behind it."""
    if report is None:
        return
    checked = ", ".join(f"{checked.name} ({checked.problems:,})" for checked in report.benchmarks)
    yield "compared with", escape(checked) or "no benchmark"
    if report.unchecked:
        yield "[yellow]unchecked[/]", f"[yellow]{escape(', '.join(report.unchecked))}[/]"
        yield "", "[dim]not here: decontaminate.paths names local copies, decontaminate.fetch=true downloads[/]"


def _add_tokens(table: Table, plan: RunPlan) -> None:
    """How much would be sampled, what it would cost and whether there is room for it."""
    if plan.prompt_tokens is not None:
        quantiles = plan.prompt_tokens.quantiles
        table.add_row("prompt tokens", f"{quantiles[0]:.0f} to {quantiles[100]:.0f}, median {quantiles[50]:.0f}")
    if plan.tokens is None or plan.completions is None:
        return
    expected = "" if plan.tokens.expected is None else f", {plan.tokens.expected:,} expected"
    table.add_row("completions", f"{plan.completions:,}, at most {plan.tokens.most:,} tokens{expected}")
    if plan.tokens.shortened:
        limit = f"of {plan.tokens.context:,} tokens leaves {plan.tokens.shortened:,} problems less than max_new_tokens"
        table.add_row("", f"[yellow]the context {limit}[/]")
    if plan.tokens.too_long:
        table.add_row("", f"[red]{plan.tokens.too_long:,} prompts leave no room in the context: no completions[/]")
    if plan.cost is not None:
        known = "" if plan.cost.expected is None else f", {plan.cost.expected:,.2f} expected"
        without = "" if plan.tokens.prompt is not None else ", prompts not counted: no tokenizer is known"
        table.add_row("cost", escape(f"at most {plan.cost.most:,.2f} {plan.cost.currency}{known}{without}"))
    if plan.disk is not None:
        needed, free = plan.disk.needed_bytes / 1e9, plan.disk.free_bytes / 1e9
        colour = "red" if needed > free else "default"
        most = "at most" if plan.tokens.expected is None else "about"
        where = f"{free:,.1f} GB free in {plan.disk.folder}"
        table.add_row("disk", f"[{colour}]{most} {needed:,.1f} GB, {escape(where)}[/]")


def snapshot_line(snapshot: Snapshot) -> str:
    """A session in one line."""
    reward = "" if snapshot.reward_mean is None else f", reward mean {snapshot.reward_mean:+.2f}"
    kept = f", kept {snapshot.kept / snapshot.scored:.0%}{reward}" if snapshot.scored else ""
    failed = f", {snapshot.failed:,} failed" if snapshot.failed else ""
    left = "" if not snapshot.seconds_left else f", {duration(snapshot.seconds_left)} left"
    oldest = f" (oldest {duration(snapshot.oldest_seconds)})" if snapshot.in_flight else ""
    return f"{snapshot.tokens_per_second:,.0f} tokens/s, {snapshot.in_flight:,} in flight{oldest}{kept}{failed}{left}"


def duration(seconds: float) -> str:
    """A time span as people say it.

    >>> duration(7.4), duration(600), duration(100_000)
    ('7 s', '10 min', '1 d 3 h')
    """
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    return (
        f"{minutes / 60:.0f} h"
        if minutes < 2880 and minutes < 1440
        else f"{minutes // 1440} d {minutes % 1440 // 60} h"
    )


def show_status(status: RunStatus, *, as_json: bool = False) -> None:
    """How a run stands, seen from outside."""
    if as_json:
        return print_json(status)
    console, snapshot = stdout(), status.total
    working = sum(shard.is_held for shard in status.shards)
    at_work = f"[green]{working} {'process works' if working == 1 else 'processes work'} in it[/]"
    console.print(f"[bold]{escape(status.run)}[/]: {at_work if working else 'no process works in it'}")
    if snapshot is None:
        return console.print("no group yet")
    share = snapshot.finished / snapshot.total if snapshot.total else 1.0
    drawn = bar(snapshot.finished, snapshot.total, 30)
    console.print(f"{snapshot.finished:,} of {snapshot.total:,} groups ({share:.1%})  {drawn}")
    console.print(escape(snapshot_line(snapshot)))
    for shard in status.shards:
        said = _ending(shard)
        if said:
            console.print(f"  {shard.name or 'sampling'}: {escape(said)} [dim]({shard.last_event})[/]")
        for reason, count in shard.errors.items():
            console.print(f"  [yellow]{shard.name} {count:,} failed: {escape(reason)}[/]")
    return None


def _ending(shard: ShardStatus) -> str:
    """How a shard's last session ended; empty for one at work."""
    if shard.state == "working":
        return "" if shard.is_held else "the last session was killed; the same command goes on"
    return {"done": "complete", "stopped": "stopped; the same command goes on"}.get(shard.state, shard.state)


def show_shard(result: ShardResult, *, as_json: bool = False) -> None:
    """What one shard of a curation run made."""
    if as_json:
        return print_json(result)
    shard, run = result.shard, escape(str(result.run))
    console = stderr()
    console.print(
        f"shard {shard.rank} of {shard.world_size}: {result.groups:,} of {result.problems:,} problems have a group"
    )
    return console.print(f"[dim]when all shards are finished: distill join {run}[/]")


def show_curated(result: CurateResult, *, as_json: bool = False) -> None:
    """What a curation run made; the dataset's folder goes to stdout."""
    stats = result.stats
    if as_json:
        return print_json(result)
    console = stderr()
    correct = stats.outcomes["correct"] / stats.completions if stats.completions else 0.0
    reward = f", reward mean {stats.rewards.mean:.2f}" if stats.rewards else ""
    console.print(
        f"[bold]{stats.groups:,} groups[/], {stats.completions:,} completions: "
        f"{percent(correct)} correct{reward}; [bold]{stats.kept:,} groups kept[/]"
    )
    for reason, count in stats.dropped.items():
        console.print(f"  {count:,} dropped: {escape(reason)} [dim](they stay in the data, flagged)[/]")
    listed = escape(str(result.run / "problems.parquet"))
    for reason, count in result.rejected.items():
        console.print(f"  [yellow]{count:,} left out before sampling: {escape(reason)}[/]  [dim]{listed}[/]")
    for name, said in _comparison(result.decontamination):
        console.print(f"  {name} {said}")
    _print_entropies(console, result.entropies)
    if result.unsampled:
        console.print(f"  [yellow]{result.unsampled:,} problems have no group yet[/]; the same command asks again")
    unverified = stats.outcomes["unverified"]
    if unverified:
        console.print(f"  [yellow]{unverified:,} completions could not be verified[/]; they have no reward")
    audit = result.audit
    if audit.audited:
        found = f"{audit.disagreeing:,} disagreements with the engine"
        console.print(f"  {audit.audited:,} decisions of the fast path were audited: {found}; report.json lists them")
    if not stats.completions:
        console.print(
            "  [yellow]no problem has a completion[/]; recorded ones find theirs by recorded.id or recorded.question"
        )
    console.print(f"[dim]look at it: distill inspect {escape(str(result.run))}[/]")
    return stdout().print(str(result.dataset), soft_wrap=True, markup=False)


def _print_entropies(console: Console, entropies: EntropySummary) -> None:
    """What there is to know of a dataset's entropies before anybody learns from them."""
    if entropies.is_mixed:
        kinds = ", ".join(f"{count:,} groups {kind}" for kind, count in entropies.kinds.items())
        console.print(f"  [yellow]entropies differ in kind: {escape(kinds)}[/]")
    if entropies.mismatched:
        console.print(
            f"  [yellow]{entropies.mismatched:,} of {entropies.compared:,} groups were sampled with other "
            f"log-probabilities than the weights give that measured entropies[/] (mean {entropies.mismatch_mean:.2f} "
            "nats apart): other weights, another chat template, or changed by temperature or top-p"
        )


def _epochs(report: TrainReport) -> Table:
    """A column for each of up to six epochs, the first and the last among them."""
    table = Table(title=f"[bold]{escape(report.method)}[/] from {escape(report.model)}", title_justify="left")
    table.add_column("epoch")
    last = len(report.epochs) - 1
    most = min(last, MOST_EPOCHS - 1)
    shown = [report.epochs[place * last // max(most, 1)] for place in range(most + 1)]
    for epoch in shown:
        table.add_column(f"{epoch['epoch']:.0f}", justify="right")
    names = dict.fromkeys(name for epoch in shown for name in epoch if name != "epoch")
    for name in names:
        values = (epoch.get(name) for epoch in shown)
        table.add_row(name.replace("_", " "), *("–" if value is None else f"{value:.4g}" for value in values))
    return table


def show_trained(report: TrainReport, *, as_json: bool = False) -> None:
    """What a training run made; the student's folder goes to stdout."""
    if as_json:
        return print_json(report)
    console = stderr()
    console.print(_epochs(report))
    console.print(
        f"{report.steps:,} steps, {report.tokens:,} supervised tokens, {report.tokens_per_second:,.0f} tokens/s, "
        f"{number(report.cpu_seconds, 0)} CPU s, peak memory {report.peak_memory_bytes / 1e9:.1f} GB"
    )
    if report.skipped_steps:
        console.print(f"[yellow]{report.skipped_steps} steps were skipped: loss or gradient was not finite[/]")
    notes = {
        "completions truncated, without an end token: longer than max_tokens": report.data.completions_truncated,
        "completions left out: longer than max_tokens": report.data.completions_overlong,
        "groups left out: no correct completion is left in them": report.data.groups_without_correct,
        "groups rendered again: the student reads another prompt or other tokens": report.data.groups_encoded_again,
    }
    for note, count in notes.items():
        if count:
            console.print(f"[yellow]{count:,} {note}[/]")
    for pattern in report.patterns:
        seen = f"{pattern['measure']} {pattern['change']:+.2f}, seen in epoch {pattern['epoch']}"
        console.print(f"[yellow]{pattern['name']}: {escape(seen)}[/]; {escape(pattern['advice'])}")
    metrics = Path(report.student).parent / "metrics.jsonl"
    console.print(f"[dim]metrics of every step: {escape(str(metrics))}[/]")
    return stdout().print(report.student, soft_wrap=True, markup=False)
