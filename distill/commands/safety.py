"""The command that judges completions for safety."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distill.commands.options import JsonOption, interruptible


def safety(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Folders of 'distill eval', or JSON Lines with a request and a completion each."),
    ],
    judge: Annotated[
        str, typer.Option(help="'refusal', 'walledguard', or 'pkg.module:function' called with (request, completion).")
    ] = "refusal",
    judge_model: Annotated[
        str | None, typer.Option("--judge-model", help="Hub id or folder of the guard; WalledGuard-C if not given.")
    ] = None,
    judge_backend: Annotated[
        str, typer.Option("--judge-backend", help="Where the guard runs: hf, server, vllm.")
    ] = "hf",
    judge_url: Annotated[
        list[str] | None, typer.Option("--judge-url", help="Address of a server of the guard; may be repeated.")
    ] = None,
    with_request: Annotated[bool, typer.Option("--with-request", help="Show the guard the request, too.")] = False,
    show_unsafe: Annotated[
        int, typer.Option("--show-unsafe", min=0, metavar="N", help="Print N completions that were found unsafe.")
    ] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write the results to this JSON file, too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Safety ratio and over-refusal of completions, with intervals, and how far their judge is to be trusted.

    [dim]distill safety runs/eval-tiny-student[/dim]
    [dim]distill safety xstest/completions_gpt4.jsonl --judge walledguard[/dim]
    """
    from distill import terminal
    from distill.config import TeacherConfig
    from distill.evals.safety import measure_safety
    from distill.evals.safety_judges import WALLEDGUARD, JudgeOptions, open_safety_judge
    from distill.evals.safety_sources import read_sources

    model = judge_model or WALLEDGUARD
    teacher = TeacherConfig(model=model, backend=judge_backend, base_urls=tuple(judge_url or ()))
    options = JudgeOptions(teacher, "request+completion" if with_request else "completion")
    found = read_sources(sources)
    with (
        interruptible("nothing was changed"),
        open_safety_judge(judge, options) as opened,
        open_safety_judge("refusal") as refusals,
    ):
        measured = [measure_safety(*source, opened, refusals) for source in found]
    results = [result for result, _ in measured]
    unsafe = [item for _, items in measured for item in items][:show_unsafe]
    terminal.show_safety(results, unsafe, out=out, as_json=as_json)
