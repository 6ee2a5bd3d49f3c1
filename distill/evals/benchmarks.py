"""A benchmark as it is evaluated: its problems, and the prompt and verifier that its data card asks for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from distill.config import EvalConfig, PromptConfig, SourceConfig, VerifierConfig
from distill.errors import DistillError
from distill.problems import Rejected, read_problems
from distill.problems.gym import PREFIX
from distill.prompts import resolve_prompt
from distill.records import Problem


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Everything that is known before a model has seen it."""

    name: str
    split: str
    problems: tuple[Problem, ...]
    rejected: tuple[Rejected, ...]
    """Rows that make no problem."""
    prompt: PromptConfig
    """Every field filled."""
    verifier: VerifierConfig
    """``markers`` filled; ``kind`` None leaves it to each problem."""
    commit: str = ""
    """The one that rows from the Hub were read at; empty for other data."""
    by: str = ""
    """Name in the problems' metadata by which a report tells them apart."""
    null_answer: str | None = None
    """The gold answer of problems that have no solution."""

    @property
    def full_name(self) -> str:
        """The benchmark with its split, as it is called where it stands beside others."""
        return benchmark_name(self.name, self.split)

    @property
    def folder_name(self) -> str:
        """The full name, in characters that every file system takes."""
        return re.sub(r"[^\w.-]+", "-", self.full_name)


def benchmark_name(name: str, split: str) -> str:
    """How a benchmark is called where it stands beside others.

    >>> benchmark_name("arithmetic", "ood"), benchmark_name("my_problems", "")
    ('arithmetic:ood', 'my_problems')
    """
    return f"{name}:{split}" if split else name


def read_benchmarks(config: EvalConfig) -> list[Benchmark]:
    """Read all benchmarks of an evaluation, before a model is loaded for the first of them.

    Raises:
        DistillError: there are none, two of them are the same, one cannot be read or has no problem.
    """
    if not config.benchmarks:
        raise DistillError("there is no benchmark to evaluate on", hint="name one with --benchmark, as in 'gsm8k:test'")
    if len(config.benchmarks) > 1 and config.source != SourceConfig():
        raise DistillError(
            f"'source' describes one benchmark, but there are {len(config.benchmarks)}: {', '.join(config.benchmarks)}",
            hint="evaluate on one at a time, or write a data card for each",
        )
    benchmarks = [read_benchmark(config, name) for name in config.benchmarks]
    name, count = Counter(benchmark.folder_name for benchmark in benchmarks).most_common(1)[0]
    if count > 1:
        raise DistillError(
            f"{count} of the benchmarks {', '.join(config.benchmarks)} are called '{name}'",
            hint="name each once; files of the same name are evaluated on one at a time",
        )
    return benchmarks


def read_benchmark(config: EvalConfig, name: str) -> Benchmark:
    """Read one benchmark: a data card, 'card:split', or a file of problems."""
    card_name, split = split_benchmark(name)
    changes = {
        "name": card_name,
        "split": split or config.source.split,
        "limit": config.limit or config.source.limit,
        "path": config.paths.get(card_name, config.source.path),
    }
    source = read_problems(config.source.model_copy(update=changes), role="benchmark", verifier=config.verifier.kind)
    if source.card.verifier.kind == "none" and config.verifier.kind is None:
        raise DistillError(
            f"the data card of '{name}' names no verifier",
            hint="name a judge of your own: --set verifier.kind=pkg.module:function, called with (text, gold)",
        )
    source.pin()
    without = source.card.without if config.without is None else config.without
    problems, shared = _without(tuple(source), without, config.paths)
    if not problems:
        raise DistillError(f"benchmark '{name}' has no problem", hint="look at its split and its columns")
    markers = source.card.verifier.markers if config.verifier.markers is None else config.verifier.markers
    return Benchmark(
        name=source.card.name,
        split=source.split,
        problems=problems,
        rejected=(*source.rejected, *shared),
        prompt=resolve_prompt(config.prompt, source.card),
        verifier=config.verifier.model_copy(update={"markers": tuple(markers)}),
        commit=source.card.hub.revision if source.card.hub is not None and source.path is None else "",
        by=source.card.by,
        null_answer=source.card.null_answer,
    )


def _without(
    problems: tuple[Problem, ...], names: Sequence[str], paths: Mapping[str, str]
) -> tuple[tuple[Problem, ...], list[Rejected]]:
    """The problems that none of these sources asks, and the others."""
    known: dict[bytes, str] = {}
    for name in names:
        card_name, split = split_benchmark(name)
        try:
            known |= {
                _question_key(problem): name
                for problem in read_problems(
                    SourceConfig(name=card_name, split=split, path=paths.get(card_name)), role="source"
                )
            }
        except DistillError as error:
            raise DistillError(
                f"problems that stand in '{name}' too are to be left out, and it cannot be read: {error}",
                hint="--set without=[FILE] or paths.CARD=FILE names a local copy, --set without=[] leaves none out",
            ) from None
    kept = tuple(problem for problem in problems if _question_key(problem) not in known)
    shared = [
        Rejected(problem.index + 1, problem.id, f"also in {known[_question_key(problem)]}")
        for problem in problems
        if _question_key(problem) in known
    ]
    return kept, shared


def _question_key(problem: Problem) -> bytes:
    """The same for questions that differ in case and white space only."""
    return blake2b(" ".join(problem.question.casefold().split()).encode(), digest_size=12).digest()


def split_benchmark(name: str) -> tuple[str, str | None]:
    r"""Take 'card:split' apart; an existing file is never taken apart, nor a drive letter, nor 'reasoning-gym:TASK'.

    >>> split_benchmark("arithmetic:ood"), split_benchmark("gsm8k"), split_benchmark("cards/mine.md:test")
    (('arithmetic', 'ood'), ('gsm8k', None), ('cards/mine.md', 'test'))
    >>> split_benchmark("reasoning-gym:gcd"), split_benchmark("reasoning-gym:gcd:test")
    (('reasoning-gym:gcd', None), ('reasoning-gym:gcd', 'test'))
    >>> split_benchmark("C:\\data\\test.jsonl")
    ('C:\\data\\test.jsonl', None)
    """
    card_name, colon, split = name.rpartition(":")
    is_whole = f"{card_name}:" == PREFIX or Path(name).exists()
    if colon and card_name and re.fullmatch(r"[\w.-]+", split) and not is_whole:
        return card_name, split
    return name, None
