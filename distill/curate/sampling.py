"""Sampling: a group of completions for every problem that has none yet, durable as soon as it is whole.

Nothing waits for a batch: while the backend has groups in flight, those that are finished are written and judged.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import takewhile
from typing import TYPE_CHECKING

from distill.config import CurateConfig, PromptConfig
from distill.curate.preparation import ProblemList
from distill.curate.stage import Stage
from distill.curate.watch import Session
from distill.errors import DistillError
from distill.generate import Backend, BoundsOptions, open_backend
from distill.prompts import build_prompt
from distill.records import Group, Problem, Prompt
from distill.schema import group_to_row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOT_SAMPLED = "not_sampled"
"""The backend returned no group; the next session asks for it again."""
MIN_ERRORS = 20
"""So many problems have to fail before their share is looked at."""


def sample_groups(
    config: CurateConfig,
    prompt: PromptConfig,
    problems: ProblemList,
    stage: Stage,
    session: Session,
) -> Generator[Group]:
    """Sample the groups that are missing and yield each when it is durable; at the end all are in parts or in errors.

    Raises:
        DistillError: the backend cannot start, cannot give the entropies that were asked for, or fails too often.
    """
    progress, watch, stopped = session.progress, session.watch, session.stopped
    missing = problems.indices - stage.done
    total = len(problems.indices)
    progress("sampling", total - len(missing), total)
    watch.begin(total - len(missing), total)
    if stage.is_done(problems.covers):
        return
    stage.begin()
    if len(missing):
        unsampled = (problem for problem in problems if problem.index in missing)
        wanted = watch.handed_out(takewhile(lambda _: not stopped(), unsampled))

        def count(tokens: int) -> None:
            progress("sampling", 0, total)  # a line now and then also while no group becomes whole
            progress("sampling tokens", tokens, None)
            watch.tokens(tokens)

        with closing(_open(config)) as backend:
            _check_entropies(config, backend)
            failures = _Failures(config.max_error_rate)
            for group in backend.sample(prompts(wanted, prompt, backend.tokenizer), count):
                if group.error:
                    stage.add_error(group.problem, group.error)
                    progress("sampling", 1, total)
                    watch.returned(group)
                    failures.add(group)
                    continue
                _check_size(config, group)
                stage.append(group_to_row(group))
                progress("sampling", 1, total)
                watch.returned(group)
                failures.num_finished += 1
                yield group
            for note in getattr(backend, "notes", ()):
                watch.event("note", text=note)
    _close(problems, stage, is_complete=not stopped())


def prompts(
    problems: Iterable[Problem], prompt: PromptConfig, tokenizer: PreTrainedTokenizerBase | None
) -> Iterator[tuple[Problem, Prompt]]:
    """Every problem with its prompt, built when it is asked for."""
    for problem in problems:
        yield problem, build_prompt(problem, prompt, tokenizer)


class _Failures:
    """Counts problems that failed, and ends the run when they are too many to be chance."""

    def __init__(self, max_rate: float) -> None:
        self.max_rate = max_rate
        self.num_failed = 0
        self.num_finished = 0

    def add(self, group: Group) -> None:
        """One more failure.

        Raises:
            DistillError: too many of the session's problems failed.
        """
        self.num_failed += 1
        tried = self.num_failed + self.num_finished
        if self.num_failed >= MIN_ERRORS and self.num_failed > self.max_rate * tried:
            raise DistillError(
                f"{self.num_failed} of {tried} problems failed, the last one '{group.problem.id}': {group.error}",
                hint="finished groups are safe; mend the cause and run the same command again, or raise max_error_rate",
            )


def _open(config: CurateConfig) -> Backend:
    entropies, sources = config.entropies, (config.teacher, config.sampling, config.recorded, config.seed)
    inline = entropies.mode in ("auto", "inline")
    bounds = BoundsOptions(entropies.top_k, entropies.vocabulary) if entropies.mode == "topk_bounds" else None
    return open_backend(*sources, inline_entropies=inline, bounds=bounds)


def _close(problems: ProblemList, stage: Stage, *, is_complete: bool) -> None:
    """Make everything durable a part; what has neither row nor error was left out by the backend."""
    missing = problems.indices - stage.done
    if not len(missing):
        stage.finish(problems.covers)
        return
    if is_complete:
        for problem in problems:
            if problem.index in missing and problem.index not in stage.failed:
                stage.add_error(problem, NOT_SAMPLED)
    stage.seal()


def _check_size(config: CurateConfig, group: Group) -> None:
    """Some servers ignore how many completions are asked for; fewer would pass for a whole group ever after."""
    found, wanted = len(group.completions), config.sampling.num_completions
    if config.teacher.backend != "recorded" and found not in (0, wanted):
        raise DistillError(
            f"backend '{config.teacher.backend}' returned {found} completions of '{group.problem.id}', not {wanted}",
            hint="a backend returns a group whole, or without completions where it cannot have any",
        )


def _check_entropies(config: CurateConfig, backend: Backend) -> None:
    if config.entropies.mode == "inline" and backend.entropy_kind != "exact":
        raise DistillError(
            f"the backend '{config.teacher.backend}' cannot measure entropies while sampling",
            hint="--set entropies.mode=prefill measures them afterwards with local weights, 'none' goes without",
        )
    if config.entropies.mode == "topk_bounds" and backend.entropy_kind != "topk_bounds":
        raise DistillError(
            f"the backend '{config.teacher.backend}' tells no largest log-probabilities that would bound entropies",
            hint="the backends 'server' and 'vllm' do; entropies.mode=auto is exact where the backend can be",
        )
