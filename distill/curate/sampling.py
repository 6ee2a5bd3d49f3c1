"""Sampling: a group of completions for every problem of the list that has none yet, durable as soon as it is whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from distill.config import CurateConfig, PromptConfig
from distill.curate import Progress
from distill.curate.preparation import ProblemList
from distill.curate.stage import Stage
from distill.errors import DistillError
from distill.generate import Backend, open_backend
from distill.prompts import build_prompt
from distill.records import Group, Problem, Prompt
from distill.schema import group_to_row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOT_SAMPLED = "not_sampled"
"""The backend returned no group; the next session asks for it again."""


def sample_groups(
    config: CurateConfig, prompt: PromptConfig, problems: ProblemList, stage: Stage, progress: Progress
) -> None:
    """Sample the groups that are missing; returns when each is in a part of the stage or among its errors.

    Raises:
        DistillError: the backend cannot start, or cannot give the entropies that were asked for.
    """
    missing = set(problems.ids) - stage.ids
    progress("sampling", len(problems.ids) - len(missing), len(problems.ids))
    if stage.is_done(problems.covers):
        return
    stage.begin()
    if missing:
        backend = open_backend(
            config.teacher,
            config.sampling,
            config.recorded,
            config.seed,
            inline_entropies=config.entropies.mode in ("auto", "inline"),
        )
        try:
            _check_entropies(config, backend)
            wanted = (problem for problem in problems if problem.id in missing)
            groups = backend.sample(
                prompts(wanted, prompt, backend.tokenizer), lambda tokens: progress("sampling tokens", tokens, None)
            )
            for group in groups:
                _check_size(config, group)
                stage.append(group_to_row(group))
                progress("sampling", 1, len(problems.ids))
        finally:
            backend.close()
    unsampled = [problem_id for problem_id in problems.ids if problem_id not in stage.ids]
    for problem_id in unsampled:
        stage.add_error(problem_id, NOT_SAMPLED)
    if unsampled:
        stage.seal()
    else:
        stage.finish(problems.covers)


def prompts(
    problems: Iterable[Problem], prompt: PromptConfig, tokenizer: PreTrainedTokenizerBase | None
) -> Iterator[tuple[Problem, Prompt]]:
    """Every problem with its prompt, built when it is asked for."""
    for problem in problems:
        yield problem, build_prompt(problem, prompt, tokenizer)


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
