"""Filters: which groups are trained on. A dropped group stays in the data, flagged with the reason.

A filter is a function ``(scores: GroupScores) -> str``: empty to keep the group, else the reason as one word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from distill.records import GroupScores, Outcome
from distill.registry import load

Filter = Callable[[GroupScores], str]

DROP_PROMPT_TOO_LONG = "prompt_too_long"
"""No completions: the prompt leaves no room in the teacher's context."""
DROP_NO_COMPLETIONS = "no_completions"
"""No completions: none are recorded for the problem."""
DROP_ALL_UNVERIFIED = "all_unverified"
DROP_NO_CORRECT = "no_correct"


def any_correct(scores: GroupScores) -> str:
    """Keep a group with at least one correct completion (AdvDistill, section on curation).

    All completions of a kept group stay, the wrong ones too.

    >>> from distill.records import Verdict
    >>> wrong = Verdict(Outcome.INCORRECT)
    >>> any_correct(GroupScores((wrong, wrong), (0.0, 0.0), (0.0, 0.0)))
    'no_correct'
    >>> any_correct(GroupScores((wrong, Verdict(Outcome.CORRECT)), (0.0, 1.0), (-0.7, 0.7)))
    ''
    """
    has_correct = any(verdict.outcome is Outcome.CORRECT for verdict in scores.verdicts)
    return "" if has_correct else DROP_NO_CORRECT


def load_filters(names: Sequence[str], *, empty_reason: str = DROP_NO_COMPLETIONS) -> Filter:
    """One filter out of several: the reason of the first that drops the group.

    A group that teaches nothing under any method is dropped before they are asked: it has no
    completions, or none of them could be verified.

    Args:
        names: registered filters or 'pkg.module:function', asked in this order.
        empty_reason: why a group has no completions; depends on where completions come from.

    Raises:
        DistillError: a name that is neither registered nor can be imported.
    """
    filters: list[Filter] = [load("filters", name) for name in names]

    def drop_reason(scores: GroupScores) -> str:
        if not scores.verdicts:
            return empty_reason
        if all(verdict.outcome is Outcome.UNVERIFIED for verdict in scores.verdicts):
            return DROP_ALL_UNVERIFIED
        return next(filter(None, (rule(scores) for rule in filters)), "")

    return drop_reason
