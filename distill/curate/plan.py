"""What a run would do, found out without buying a token."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distill.config import CurateConfig, PriceConfig, PromptConfig
from distill.curate import Progress
from distill.curate.decontaminate import BENCHMARK_OVERLAP, DecontaminationReport
from distill.curate.distributions import Distribution, distribution
from distill.curate.job import open_job, read_source
from distill.curate.preparation import ProblemList, prepare_problems
from distill.curate.settings import stage_settings
from distill.errors import DistillError
from distill.generate import open_backend
from distill.generate.check import EngineCheck, check_engine
from distill.prompts import build_prompt
from distill.records import Prompt
from distill.registry import load

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXAMPLES_PER_REASON = 3
EXAMPLE_CHARACTERS = 300
BYTES_PER_TOKEN = 24
"""Of a completion, in parts and dataset together: its text, id, log-probability and entropy."""
BYTES_PER_GROUP = 4000
"""Beside its completions' tokens: problem, prompt, scores."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A problem that would not be sampled."""

    id: str
    reason: str
    detail: str
    """Which problem it repeats, where it repeats one."""
    question: str
    """Its beginning."""


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """Tokens that would be read and sampled."""

    prompt: int | None
    """Of all prompts, each counted once; None when no tokenizer is known."""
    most: int
    """Sampled at the very most: every completion reaches its limit."""
    expected: int | None
    """Sampled if completions are as long as ``price.expected_tokens_per_completion`` says."""
    context: int | None
    """Most tokens of prompt and completion together, where the model is known to have such a limit."""
    shortened: int
    """Problems whose prompt leaves room for a completion, but not for ``max_new_tokens``."""
    too_long: int
    """Problems whose prompt leaves no room at all: they cannot be sampled."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the tokens would cost by the recipe's prices."""

    currency: str
    most: float
    expected: float | None


@dataclass(frozen=True, slots=True)
class Disk:
    """Room for the run."""

    folder: str
    free_bytes: int
    needed_bytes: int
    """An estimate, from the expected tokens where they are known and else from the most."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run would do, found out without sampling."""

    source: str
    split: str
    teacher: str
    backend: str
    problems: int
    """Problems that would be sampled."""
    rejected: Mapping[str, int]
    """Reason -> problems that would not."""
    examples: tuple[Rejection, ...]
    """The first few of every reason."""
    decontamination: DecontaminationReport | None
    """What the problems were compared with, and what could not be."""
    completions: int | None
    """None when they exist already."""
    max_new_tokens: int | None
    """Tokens that would be sampled at the very most."""
    tokens: TokenPlan | None
    """None when the completions exist already."""
    prompt_tokens: Distribution | None
    """None when no tokenizer is known."""
    first_prompt: str
    """As the teacher would read it."""
    opens_think: bool
    """True when the prompt ends inside a '<think>' that the chat template has opened."""
    cost: Cost | None
    """None when the recipe names no price."""
    engine: EngineCheck
    disk: Disk | None
    fingerprints: Mapping[str, str]


@dataclass(slots=True)
class _Prompts:
    """What is gathered while the prompts pass; its size depends on their lengths, not on their number."""

    first: Prompt | None
    lengths: Counter[int]


def plan_run(config: CurateConfig, out: Path | None = None, progress: Progress | None = None) -> RunPlan:
    """Everything about a run that can be known before the first token: reads all problems, samples nothing.

    Args:
        out: the folder that the run would have; its disk is looked at. None takes the current folder.
        progress: called with (stage, advance, total), often.

    Raises:
        DistillError: whatever would stop the run, but for an engine that is not ready: ``engine`` tells of that.
    """
    load("backends", config.teacher.backend)
    report = progress or _no_progress
    source, prompt = read_source(config)
    tokenizer = _tokenizer(config)
    settings = stage_settings(config, source, prompt)
    with open_job(config, settings) as job, tempfile.TemporaryDirectory() as folder:
        covers, path = job.fingerprints["problems"], Path(folder) / "problems.parquet"
        problems = prepare_problems(source, job.scorer.judge, path, covers, report, config.decontaminate)
        _need_problems(problems, source.card.name)
        gathered = _gather(problems, prompt, tokenizer, report)
        examples = _examples(problems)
    is_recorded = config.teacher.backend == "recorded"
    if is_recorded:  # whose file is looked through when it is opened
        open_backend(config.teacher, config.sampling, config.recorded, config.seed).close()
    engine, number = check_engine(config.teacher), len(problems.indices)
    tokens = None if is_recorded else _tokens(config, gathered.lengths, engine.context, tokenizer is not None)
    return RunPlan(
        source=source.card.name,
        split=source.split,
        teacher=config.teacher.model,
        backend=config.teacher.backend,
        problems=number,
        rejected=problems.rejected,
        examples=examples,
        decontamination=problems.decontamination,
        completions=None if is_recorded else number * config.sampling.num_completions,
        max_new_tokens=None if tokens is None else tokens.most,
        tokens=tokens,
        prompt_tokens=None if tokenizer is None else _distribution(gathered.lengths),
        first_prompt="" if gathered.first is None else gathered.first.text,
        opens_think=gathered.first is not None and gathered.first.opens_think,
        cost=None if tokens is None else _cost(config.price, tokens),
        engine=engine,
        disk=None if tokens is None else _disk(out or Path(), number, tokens),
        fingerprints=job.fingerprints,
    )


def _gather(
    problems: ProblemList, prompt: PromptConfig, tokenizer: PreTrainedTokenizerBase | None, progress: Progress
) -> _Prompts:
    """Render every prompt, keep the first and count the tokens of all."""
    gathered = _Prompts(None, Counter())
    for problem in problems:
        built = build_prompt(problem, prompt, tokenizer)
        gathered.first = gathered.first or built
        gathered.lengths[len(built.token_ids)] += 1
        progress("prompts", 1, len(problems.indices))
    return gathered


def _examples(problems: ProblemList) -> tuple[Rejection, ...]:
    shown = Counter[str]()
    found = []
    for problem, reason, detail in problems.rejections():
        shown[reason] += 1
        if shown[reason] <= EXAMPLES_PER_REASON:
            found.append(Rejection(problem.id, reason, detail, problem.question[:EXAMPLE_CHARACTERS]))
    return tuple(found)


def _tokens(config: CurateConfig, lengths: Counter[int], context: int | None, is_counted: bool) -> TokenPlan:
    """How many tokens prompts of these lengths make."""
    longest, expected = config.sampling.max_new_tokens, config.price.expected_tokens_per_completion
    rooms = {length: longest if context is None else max(0, min(longest, context - length)) for length in lengths}

    def sampled(mean: int) -> int:
        each = sum(min(mean, rooms[length]) * count for length, count in lengths.items())
        return config.sampling.num_completions * each

    return TokenPlan(
        prompt=sum(length * count for length, count in lengths.items()) if is_counted else None,
        most=sampled(longest),
        expected=None if expected is None else sampled(expected),
        context=context,
        shortened=sum(count for length, count in lengths.items() if 0 < rooms[length] < longest),
        too_long=sum(count for length, count in lengths.items() if not rooms[length]),
    )


def _cost(price: PriceConfig, tokens: TokenPlan) -> Cost | None:
    """Prices times tokens; prompts that no tokenizer here can count are left out."""
    if price.prompt_per_million is None and price.completion_per_million is None:
        return None
    prompts = (tokens.prompt or 0) * (price.prompt_per_million or 0.0)
    each = price.completion_per_million or 0.0
    expected = None if tokens.expected is None else (prompts + tokens.expected * each) / 1e6
    return Cost(price.currency, (prompts + tokens.most * each) / 1e6, expected)


def _disk(out: Path, problems: int, tokens: TokenPlan) -> Disk:
    folder = out.expanduser().absolute()
    while not folder.is_dir():
        folder = folder.parent
    sampled = tokens.most if tokens.expected is None else tokens.expected
    needed = problems * BYTES_PER_GROUP + (sampled + (tokens.prompt or 0)) * BYTES_PER_TOKEN
    return Disk(os.fspath(folder), shutil.disk_usage(folder).free, needed)


def _distribution(lengths: Counter[int]) -> Distribution | None:
    import numpy as np

    return distribution(np.repeat(np.fromiter(lengths.keys(), np.float64), np.fromiter(lengths.values(), np.int64)))


def _need_problems(problems: ProblemList, source: str) -> None:
    if len(problems.indices):
        return
    reasons = ", ".join(f"{reason} ({count})" for reason, count in problems.rejected.items())
    known = any(reason.startswith(BENCHMARK_OVERLAP) for reason in problems.rejected)
    way_out = "; decontaminate.benchmarks names those that problems may not repeat" if known else ""
    raise DistillError(f"no problem of '{source}' is left to sample", hint=f"rejected: {reasons}{way_out}")


def _tokenizer(config: CurateConfig) -> PreTrainedTokenizerBase | None:
    """The tokenizer that the backend would bring, without the backend's weights."""
    from distill.models import load_tokenizer

    teacher = config.teacher
    names = {
        "hf": teacher.model,
        "vllm": teacher.model,
        "server": teacher.tokenizer,
        "recorded": config.recorded.tokenizer,
    }
    name = names.get(teacher.backend)
    return load_tokenizer(name) if name else None


def _no_progress(stage: str, advance: int, total: int | None) -> None:
    """Report to nobody."""
