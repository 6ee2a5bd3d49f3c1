"""What the commands share: options, the config that they come to, and how a long command is stopped."""

from __future__ import annotations

import _thread
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from distill.commands.completing import complete_recipe, complete_source
from distill.errors import DistillError

GRACE_SECONDS = 30.0
"""How long groups in flight may take to finish after the first Ctrl-C or SIGTERM."""

Resume = Literal["never", "always", "if-possible"]
SourceArgument = Annotated[
    str,
    typer.Argument(
        help="A data card's name or path, a file (JSONL, Parquet, CSV, TSV), a dataset on the Hub, or "
        "reasoning-gym:TASK.",
        autocompletion=complete_source,
    ),
]
RecipeOption = Annotated[
    Path | None,
    typer.Option(
        "--recipe", help="YAML file or shipped recipe; a command reads its section.", autocompletion=complete_recipe
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set any field of the recipe; may be repeated.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the run; a name under runs/ by default.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Take only the first N problems.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")]
ResumeOption = Annotated[Resume, typer.Option("--resume", help="Go on with a run that was interrupted.")]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Also write one page of HTML that needs nothing else.")
]
CardOption = Annotated[
    Path | None, typer.Option("--card", metavar="FILE", help="Also write a Markdown section for a model card.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for machines.")]
PrintConfigOption = Annotated[bool, typer.Option("--print-config", help="Print the resolved recipe and stop.")]
AuditOption = Annotated[
    float | None,
    typer.Option(
        "--audit-fast-path",
        min=0.0,
        max=1.0,
        metavar="P",
        help="Ask the engine, too, about this share of what the verifier's fast path decides.",
    ),
]
AllowCodeOption = Annotated[
    bool, typer.Option("--allow-code", help="Let the verifier 'code' run what a model wrote, in a sandbox.")
]
AllowNetworkOption = Annotated[
    bool, typer.Option("--allow-network", help="Run it even where this system cannot take its network away.")
]
TokenizerOption = Annotated[
    str | None, typer.Option("--tokenizer", help="Counts tokens of recorded completions that bring no count.")
]


def load(
    config_class: type[Any],
    section: str,
    recipe: Path | None,
    sets: list[str] | None,
    flags: dict[str, Any],
    print_config: bool,
) -> Any:
    """The validated config; with --print-config it is printed and the command ends."""
    from distill.recipe import load_config, to_yaml

    config = load_config(config_class, section, recipe=recipe, sets=sets or (), flags=flags)
    if print_config:
        typer.echo(to_yaml(config, section), nl=False)
        raise typer.Exit
    return config


def write_documents(html: Path | None, card: Path | None, sources: Sequence[Path], baseline: str | None = None) -> None:
    """Write the page and the model card's section that were asked for, of what these folders hold."""
    if html is not None:
        from distill.evals.page.page import write_page

        write_page(html, sources, baseline)
        typer.echo(f"page: {html}", err=True)
    if card is not None:
        from distill.evals.page.model_card import write_model_card

        write_model_card(card, sources, baseline)
        typer.echo(f"model card: {card}", err=True)


def judging_flags(audit_fast_path: float | None, allow_code: bool, allow_network: bool) -> dict[str, Any]:
    """What the flags say of the section 'verifier'; a flag that is not given leaves it to the recipe."""
    return {
        "audit_fast_path": audit_fast_path,
        "allow_code": allow_code or None,
        "allow_network": allow_network or None,
    }


def source_name(source: str) -> str:
    """A short name for a run made from a source, in characters that every file system takes.

    >>> source_name("data/sums.jsonl.gz"), source_name("openai/gsm8k"), source_name("reasoning-gym:gcd")
    ('sums', 'gsm8k', 'reasoning-gym-gcd')
    """
    return re.sub(r"[^\w-]+", "-", Path(source).name.partition(".")[0]) or "curate"


def run_name(path: Path) -> str:
    """A short name for a run made from a dataset or a model: the folder's, without its inner 'dataset' or 'student'."""
    return path.parent.name if path.name in {"dataset", "student"} else path.name


class _Stop:
    """What Ctrl-C and SIGTERM do: the first asks the work to end, a second one or the end of the grace time ends it."""

    def __init__(self, grace_seconds: float) -> None:
        self.requested = False
        self.grace_seconds = grace_seconds
        # interrupt_main runs our handler once more, in the main thread
        self.timer = threading.Timer(grace_seconds, _thread.interrupt_main, [signal.SIGTERM])
        self.timer.daemon = True

    def __call__(self) -> bool:
        return self.requested

    def handle(self, *_: object) -> None:
        if self.requested or not self.grace_seconds:
            raise KeyboardInterrupt
        self.requested = True
        self.timer.start()
        seconds = f"{self.grace_seconds:.0f} s"
        typer.echo(f"\nstopping: what is in flight may finish, for up to {seconds}; once more stops at once", err=True)


@contextmanager
def interruptible(what_is_safe: str, grace_seconds: float = 0.0) -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM end a long command with one line that says what is kept and how to go on.

    They do so also where they are ignored, as in everything that a script starts in the background.

    Args:
        grace_seconds: for how long the work may go on that ends by itself once the yielded function is true.
    """
    stop = _Stop(grace_seconds)
    previous = {number: signal.signal(number, stop.handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    except KeyboardInterrupt as interrupt:
        message = str(interrupt) or f"interrupted; {what_is_safe}"
        raise DistillError(message, hint="run the same command again to go on") from None
    finally:
        stop.timer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)
