"""The commands that measure and compare students, and explain a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.commands.completing import complete_benchmark
from distill.commands.options import (
    CardOption,
    HtmlOption,
    JsonOption,
    LimitOption,
    OutOption,
    PrintConfigOption,
    RecipeOption,
    ResumeOption,
    SeedOption,
    SetOption,
    interruptible,
    load,
    run_name,
    write_documents,
)
from distill.errors import DistillError

if TYPE_CHECKING:
    from distill.config import EvalConfig

BenchmarksOption = Annotated[
    list[str] | None,
    typer.Option(
        "--benchmark",
        "-b",
        help="Data card, 'card:split' or file; may be repeated.",
        autocompletion=complete_benchmark,
    ),
]
RecordedOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Score completions that exist: a file of rows, samples of lm-evaluation-harness, or the folder of an "
        "evaluation.",
    ),
]


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(help="Hub id or folder of a model, or of a training run; with --from a name for the model."),
    ] = None,
    benchmarks: BenchmarksOption = None,
    recorded: RecordedOption = None,
    rules: Annotated[
        list[str] | None,
        typer.Option("--rule", help="Also by this rule of the benchmark: authors, lm-eval; may be repeated."),
    ] = None,
    backend: Annotated[str | None, typer.Option(help="What runs the model: hf, vllm, server.")] = None,
    urls: Annotated[
        list[str] | None, typer.Option("--url", help="Address of a server of the model; may be repeated.")
    ] = None,
    via: Annotated[
        str | None, typer.Option("--via", help="'lm-eval': the benchmarks are its log-likelihood tasks, or task files.")
    ] = None,
    recipe: RecipeOption = None,
    limit: LimitOption = None,
    out: OutOption = None,
    seed: SeedOption = None,
    resume: ResumeOption = "if-possible",
    sets: SetOption = None,
    print_config: PrintConfigOption = False,
    html: HtmlOption = None,
    card: CardOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on benchmarks: accuracy with intervals, lengths, truncation, missing answers.

    [dim]distill eval runs/arithmetic-advdistill -b arithmetic -b arithmetic:ood[/dim]
    [dim]distill eval tiny-student -b gsm8k --set source.path=test.jsonl --limit 100[/dim]
    [dim]distill eval Qwen/Qwen2.5-7B-Instruct -b gsm8k --url http://localhost:8000/v1[/dim]
    [dim]distill eval --from completions.jsonl -b bbh --rule authors[/dim]
    """
    from distill import terminal
    from distill.config import EvalConfig

    flags: dict[str, Any] = {"model": model, "benchmarks": benchmarks or None, "limit": limit, "seed": seed}
    flags |= {"rules": rules or None, "via": via, "backend": backend or ("server" if urls else None)}
    flags["serving"] = {"base_urls": urls} if urls else None
    flags["recorded"] = {"path": str(recorded)} if recorded else None
    config = load(EvalConfig, "eval", recipe, sets, flags, print_config)
    if config.recorded.path is not None:
        return write_documents(html, card, [_rescore(config, out, as_json=as_json)])
    if not config.model:
        raise DistillError("there is no model to evaluate", hint="name one, or completions that exist with --from FILE")
    from distill.evals.run import evaluate as run_evaluation

    folder = out or Path("runs") / f"eval-{run_name(Path(config.model))}"
    with interruptible("finished problems are safe"), terminal.show_progress() as progress:
        result = run_evaluation(config, folder, resume=resume, progress=progress)
    terminal.show_evaluated(result, folder, as_json=as_json)
    return write_documents(html, card, [folder])


def _rescore(config: EvalConfig, out: Path | None, *, as_json: bool) -> Path:
    from distill import terminal
    from distill.evals.rescore import rescore

    path = Path(config.recorded.path or "").expanduser()
    inside = path.parent.name if path.stem == "completions" else path.name.partition(".")[0]
    folder = out or Path("runs") / f"rescored-{inside or path.resolve().name}"
    with interruptible("nothing was changed"), terminal.show_progress() as progress:
        result = rescore(config, folder, progress=progress, note=lambda line: typer.echo(line, err=True))
    terminal.show_evaluated(result, folder, as_json=as_json)
    return folder


def compare(
    reports: Annotated[list[Path], typer.Argument(help="Reports of 'distill eval', or the folders that hold them.")],
    baseline: Annotated[
        str | None, typer.Option(help="Report the others are compared with; the first if not given.")
    ] = None,
    html: HtmlOption = None,
    card: CardOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put reports side by side, paired by problem: what differs beyond chance.

    [dim]distill compare runs/eval-tiny-student runs/eval-arithmetic-sft[/dim]
    [dim]distill compare runs/eval-tiny-student runs/eval-arithmetic-sft --html comparison.html[/dim]
    """
    from distill import terminal
    from distill.evals.compare import compare_reports

    terminal.show_comparison(compare_reports(reports, baseline=baseline), as_json=as_json)
    write_documents(html, card, reports, baseline)


def verify(
    text: Annotated[str, typer.Argument(help="A completion's text; '-' reads it from stdin.")],
    gold: Annotated[str, typer.Option("--gold", help="The gold answer.")],
    kind: Annotated[
        str | None,
        typer.Option(help="A verifier ('distill list verifiers'), or 'pkg.module:function'; 'math' if not given."),
    ] = None,
    choices: Annotated[
        list[str] | None, typer.Option("--choice", help="Text of one of the options, in order; may be repeated.")
    ] = None,
    markers: Annotated[
        list[str] | None, typer.Option("--marker", help="Text after which the answer stands; may be repeated.")
    ] = None,
    truncated: Annotated[bool, typer.Option("--truncated", help="The completion ended at its length limit.")] = False,
    benchmark: Annotated[
        str | None, typer.Option("--benchmark", "-b", help="Data card whose verifier, markers and rules are taken.")
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option("--rule", help="Score it by this rule of the benchmark, too: authors, lm-eval; may be repeated."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a field of 'verifier', such as options.percent=strict."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    r"""Judge one completion and tell how: what was read, where the answer stood, which layer decided.

    [dim]distill verify 'It is \\boxed{0.5}.' --gold '\\frac{1}{2}'[/dim]
    [dim]distill verify 'The answer is (B).' --gold B --kind choice --choice Rome --choice Paris[/dim]
    [dim]distill verify 'So the answer is (B)' --gold '(B)' --benchmark bbh --rule authors --rule lm-eval[/dim]
    """
    import sys

    from distill import terminal
    from distill.cards import load_card
    from distill.config import VerifierConfig
    from distill.verifiers.explain import explain
    from distill.verifiers.judge import open_judge
    from distill.verifiers.setting import Setting

    if benchmark:
        card = load_card(benchmark)
        kind, markers, benchmark = kind or card.verifier.kind, markers or list(card.verifier.markers), card.name
    kind = kind or "math"
    config = load(VerifierConfig, "verifier", None, sets, {"kind": kind, "markers": markers}, False)
    with open_judge(config, config.markers or ()) as judge:
        setting = Setting(
            options=tuple(choices or ()),
            markers=judge.markers,
            finish_reason="length" if truncated else "stop",
            policy=judge.policy,
            limits=judge.limits,
            engine=judge.engine,
        )
        completion = sys.stdin.read() if text == "-" else text
        explained = explain(completion, gold, kind, setting, rules=rules or (), benchmark=benchmark or "")
        terminal.show_explanation(explained, as_json=as_json)
