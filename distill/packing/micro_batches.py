"""How the groups of a step share forward passes: as many tokens in each as a budget allows.

Pure functions; what is computed does not depend on how groups are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from distill.packing.layout import GroupTokens


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward pass reads."""

    groups: tuple[GroupTokens, ...]
    """Groups, or parts of groups that were too large."""
    completions: tuple[int, ...]
    """Their completions, by place among those of all groups, in the order of ``groups``."""


def row_batches(groups: Sequence[GroupTokens], token_budget: int) -> list[MicroBatch]:
    """Every completion in a row of its own, rows of like length together, at most ``token_budget`` padded tokens.

    A row that alone is longer gets a pass of its own.

    >>> groups = [GroupTokens((1,), ((2, 3), (4,) * 8)), GroupTokens((5, 6), ((7, 8), (9,) * 6, (1, 2, 3)))]
    >>> [batch.completions for batch in row_batches(groups, token_budget=18)]
    [(1, 3), (4, 2, 0)]
    """
    rows = sorted(_parts(groups, 0), key=lambda part: -part.num_tokens)
    batches: list[list[_Part]] = []
    for row in rows:
        # rows come longest first, so a batch's first row is its width
        if batches and batches[-1][0].num_tokens * (len(batches[-1]) + 1) <= token_budget:
            batches[-1].append(row)
        else:
            batches.append([row])
    return [_batch(parts) for parts in batches]


def group_batches(groups: Sequence[GroupTokens], token_budget: int) -> list[MicroBatch]:
    """Groups with their prompt once, at most ``token_budget`` tokens; what is larger is cut between completions.

    The largest are placed first, each where there is room. A completion that with its prompt is longer than
    the budget gets a pass of its own.

    >>> groups = [GroupTokens((1,), ((2, 3), (4,) * 8)), GroupTokens((5, 6), ((7, 8), (9,) * 6, (1, 2, 3)))]
    >>> [batch.completions for batch in group_batches(groups, token_budget=13)]
    [(2, 3, 4), (0, 1)]
    >>> [batch.completions for batch in group_batches(groups, token_budget=10)]
    [(2, 3), (1,), (4, 0)]
    """
    parts = sorted(_parts(groups, token_budget), key=lambda part: -part.num_tokens)
    batches: list[list[_Part]] = []
    room: list[int] = []
    for part in parts:
        place = next((number for number, left in enumerate(room) if part.num_tokens <= left), len(room))
        if place == len(room):
            batches.append([])
            room.append(token_budget)
        batches[place].append(part)
        room[place] -= part.num_tokens
    return [_batch(parts) for parts in batches]


@dataclass(frozen=True, slots=True)
class _Part:
    """A prompt with some of its completions."""

    tokens: GroupTokens
    completions: range

    @property
    def num_tokens(self) -> int:
        return len(self.tokens.prompt_ids) + sum(map(len, self.tokens.completion_ids))


def _parts(groups: Sequence[GroupTokens], token_budget: int) -> list[_Part]:
    """The groups cut into parts of at most ``token_budget`` tokens, or of one completion."""
    parts = []
    firsts = accumulate((len(group.completion_ids) for group in groups), initial=0)
    for first, group in zip(firsts, groups, strict=False):
        start, total = 0, len(group.prompt_ids)
        for index, ids in enumerate(group.completion_ids):
            if index > start and total + len(ids) > token_budget:
                parts.append(_part(group, first, start, index))
                start, total = index, len(group.prompt_ids)
            total += len(ids)
        if group.completion_ids:
            parts.append(_part(group, first, start, len(group.completion_ids)))
    return parts


def _part(group: GroupTokens, first: int, start: int, stop: int) -> _Part:
    tokens = GroupTokens(group.prompt_ids, group.completion_ids[start:stop])
    return _Part(tokens, range(first + start, first + stop))


def _batch(parts: Sequence[_Part]) -> MicroBatch:
    completions = tuple(number for part in parts for number in part.completions)
    return MicroBatch(tuple(part.tokens for part in parts), completions)
