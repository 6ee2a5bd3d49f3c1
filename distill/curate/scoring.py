"""Scoring: completions become verdicts, rewards, advantages, and a word on whether the group is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from distill.advantages import group_advantages
from distill.config import AdvantagesConfig, CurateConfig
from distill.curate import Progress
from distill.curate.filters import DROP_NO_COMPLETIONS, DROP_PROMPT_TOO_LONG, Filter, load_filters
from distill.curate.index_set import IndexSet
from distill.curate.rewards import Reward, make_reward
from distill.curate.stage import Stage
from distill.curate.watch import Watch
from distill.errors import DistillError
from distill.generate.entropies import score_entropies
from distill.records import Group, GroupScores, Verdict
from distill.schema import row_to_group, scores_to_row
from distill.verifiers import Judge

MAX_PENDING = 64
"""Groups between being sampled and being scored."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """Everything that a group's scores depend on, checked and ready."""

    judge: Judge
    reward: Reward
    parts: tuple[str, ...]
    """Names of the reward's parts."""
    drop_reason: Filter
    advantages: AdvantagesConfig

    def score(self, group: Group, verdicts: tuple[Verdict, ...]) -> GroupScores:
        """The rewards and advantages of one group, and why it is dropped, if it is."""
        results = [self.reward(*pair) for pair in zip(group.completions, verdicts, strict=True)]
        rewards = tuple(result.total for result in results)
        scores = GroupScores(
            verdicts,
            rewards,
            group_advantages(rewards, eps=self.advantages.eps, ddof=self.advantages.ddof),
            {part: tuple(result.parts[part] for result in results) for part in self.parts},
        )
        return replace(scores, drop_reason=self.drop_reason(group, scores))


def make_scorer(config: CurateConfig, judge: Judge) -> Scorer:
    """The scorer of a recipe.

    Raises:
        DistillError: a reward, an option of one, or a filter does not exist.
    """
    is_recorded = config.teacher.backend == "recorded"
    empty_reason = DROP_NO_COMPLETIONS if is_recorded else DROP_PROMPT_TOO_LONG
    return Scorer(
        judge,
        make_reward(config.rewards),
        tuple(config.rewards.parts),
        load_filters(config.filters, empty_reason=empty_reason),
        config.advantages,
    )


class Scoring:
    """Scores groups while others are sampled: verdicts on threads, their rows by the thread that adds the groups.

    Rows are written in the order in which the groups were added, and never more than ``MAX_PENDING`` wait.
    """

    def __init__(
        self, scorer: Scorer, scores: Stage, progress: Progress, total: int, watch: Watch | None = None
    ) -> None:
        self._scorer = scorer
        self._scores = scores
        self._progress = progress
        self._total = total
        self._watch = watch
        self._threads = ThreadPoolExecutor(scorer.judge.limits.num_workers, thread_name_prefix="verify")
        self._pending: deque[tuple[Group, Future[tuple[Verdict, ...]]]] = deque()
        self._has_begun = False
        progress("scoring", len(scores.done), total)

    def __enter__(self) -> Scoring:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=error is not None)

    def add(self, group: Group) -> None:
        """Have a group scored, unless it has scores already."""
        if group.problem.index in self._scores.done:
            return
        if not self._has_begun:
            self._scores.begin()
            self._has_begun = True
        self._pending.append((group, self._threads.submit(self._scorer.judge.judge_group, group)))
        while self._pending and (len(self._pending) > MAX_PENDING or self._pending[0][1].done()):
            self._write()

    def catch_up(self, completions: Stage) -> None:
        """Have every stored group scored that an earlier session left without scores, and write what still waits."""
        self.wait()
        if len(completions.done - self._scores.done):
            for row in completions.rows():
                if row["index"] not in self._scores.done:
                    self.add(row_to_group(row))
        self.wait()

    def wait(self) -> None:
        """Write what was added and is not written yet."""
        while self._pending:
            self._write()

    def finish(self, covers: str) -> None:
        """Close the stage: it is complete for the problems whose fingerprint this is."""
        if self._has_begun or not self._scores.is_done(covers):
            self._scores.finish(covers)

    def _write(self) -> None:
        group, verdicts = self._pending.popleft()
        scores = self._scorer.score(group, verdicts.result())
        self._scores.append(scores_to_row(group.problem, scores))
        self._progress("scoring", 1, self._total)
        if self._watch is not None:
            self._watch.scored(scores)


def score_groups(completions: Stage, scores: Stage, scorer: Scorer, covers: str, progress: Progress) -> None:
    """Score the groups that have no scores yet; returns when each is in a part of ``scores``.

    Args:
        covers: fingerprint of the problems whose groups ``completions`` holds.
    """
    with Scoring(scorer, scores, progress, len(completions.done)) as scoring:
        scoring.catch_up(completions)
        scoring.finish(covers)


def measure_entropies(
    config: CurateConfig, completions: Stage, scores: Stage, entropies: Stage, covers: str, progress: Progress
) -> None:
    """Measure the teacher's exact entropies of the kept groups that have none yet, by a pass with local weights.

    Args:
        covers: fingerprint of what decides which groups there are and which of them are kept.

    Raises:
        DistillError: the weights cannot be loaded, or do not fit the completions' tokens.
    """
    kept = IndexSet(row["index"] for row in scores.rows(["index", "kept"]) if row["kept"])
    readable = kept & IndexSet(row["index"] for row in completions.rows(["index", "prompt_ids"]) if row["prompt_ids"])
    if len(kept) and not len(readable):
        raise DistillError(
            "no entropies can be measured: the prompts of these completions have no token ids",
            hint="for recorded completions name the teacher's tokenizer with 'recorded.tokenizer'",
        )
    progress("entropies", len(readable & entropies.done), len(readable))
    missing = readable - entropies.done
    if len(missing):
        entropies.begin()
        model = config.entropies.model or config.teacher.model
        for read in score_entropies(
            _groups(completions, missing), model, dtype=config.teacher.dtype, device=config.teacher.device
        ):
            row: dict[str, Any] = {"id": read.problem.id, "index": read.problem.index}
            mean, largest = (read.mismatch.mean, read.mismatch.largest) if read.mismatch else (None, None)
            row |= {"logprob_mismatch": mean, "logprob_mismatch_max": largest}
            entropies.append({**row, "token_logprobs": read.logprobs, "token_entropies": read.entropies})
            progress("entropies", 1, len(readable))
    entropies.finish(covers)


def _groups(stage: Stage, indices: IndexSet) -> Iterator[Group]:
    for row in stage.rows():
        if row["index"] in indices:
            yield row_to_group(row)
