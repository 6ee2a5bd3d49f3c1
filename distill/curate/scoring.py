"""Scoring: completions become verdicts, rewards, advantages, and a word on whether the group is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from distill.advantages import group_advantages
from distill.config import AdvantagesConfig, CurateConfig
from distill.curate import Progress
from distill.curate.filters import DROP_NO_COMPLETIONS, DROP_PROMPT_TOO_LONG, Filter, load_filters
from distill.curate.rewards import Reward, make_reward
from distill.curate.stage import Stage
from distill.errors import DistillError
from distill.generate.entropies import score_entropies
from distill.records import Group, GroupScores
from distill.schema import row_to_group, scores_to_row
from distill.verifiers import Judge


@dataclass(frozen=True, slots=True)
class Scorer:
    """Everything that a group's scores depend on, checked and ready."""

    judge: Judge
    reward: Reward
    parts: tuple[str, ...]
    """Names of the reward's parts."""
    drop_reason: Filter
    advantages: AdvantagesConfig

    def score(self, group: Group) -> GroupScores:
        """The verdicts, rewards and advantages of one group, and why it is dropped, if it is."""
        completions = group.completions
        verdicts = tuple(self.judge.judge(group.problem, completion) for completion in completions)
        results = [self.reward(completion, verdict) for completion, verdict in zip(completions, verdicts, strict=True)]
        rewards = tuple(result.total for result in results)
        scores = GroupScores(
            verdicts,
            rewards,
            group_advantages(rewards, eps=self.advantages.eps, ddof=self.advantages.ddof),
            {part: tuple(result.parts[part] for result in results) for part in self.parts},
        )
        return replace(scores, drop_reason=self.drop_reason(scores))


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


def score_groups(completions: Stage, scores: Stage, scorer: Scorer, covers: str, progress: Progress) -> None:
    """Score the groups that have no scores yet; returns when each is in a part of ``scores``.

    Args:
        covers: fingerprint of the problems whose groups ``completions`` holds.
    """
    total = len(completions.ids)
    progress("scoring", len(scores.ids & completions.ids), total)
    if scores.ids >= completions.ids and scores.is_done(covers):
        return
    scores.begin()
    for row in completions.rows():
        if row["id"] not in scores.ids:
            scores.append(scores_to_row(row["id"], scorer.score(row_to_group(row))))
            progress("scoring", 1, total)
    scores.finish(covers)


def measure_entropies(
    config: CurateConfig, completions: Stage, scores: Stage, entropies: Stage, progress: Progress
) -> None:
    """Measure the teacher's exact entropies of the kept groups that have none yet, by a pass with local weights.

    Raises:
        DistillError: the weights cannot be loaded, or do not fit the completions' tokens.
    """
    kept = {row["id"] for row in scores.rows(["id", "kept"]) if row["kept"]}
    readable = kept & {row["id"] for row in completions.rows(["id", "prompt_ids"]) if row["prompt_ids"]}
    if kept and not readable:
        raise DistillError(
            "no entropies can be measured: the prompts of these completions have no token ids",
            hint="for recorded completions name the teacher's tokenizer with 'recorded.tokenizer'",
        )
    progress("entropies", len(readable & entropies.ids), len(readable))
    missing = readable - entropies.ids
    if missing:
        model = config.entropies.model or config.teacher.model
        for problem_id, logprobs, values in score_entropies(
            _groups(completions, missing), model, dtype=config.teacher.dtype, device=config.teacher.device
        ):
            entropies.append({"id": problem_id, "token_logprobs": logprobs, "token_entropies": values})
            progress("entropies", 1, len(readable))
    entropies.seal()


def _groups(stage: Stage, ids: set[str]) -> Iterator[Group]:
    for row in stage.rows():
        if row["id"] in ids:
            yield row_to_group(row)
