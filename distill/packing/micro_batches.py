"""How the groups of a step share forward passes: as many tokens in each as a budget allows.

Pure functions; what is computed does not depend on how groups are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from distill.packing.layout import GroupTokens, PackedBatch, pack_groups, pack_rows

# A row shorter than this share of the longest of its batch begins another: less than a quarter is padding.
LEAST_FILLED = 0.75


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward pass reads."""

    groups: tuple[GroupTokens, ...]
    """Groups, or parts of groups that were too large."""
    completions: tuple[int, ...]
    """Their completions, by place among those of all groups, in the order of ``groups``."""

    @property
    def num_tokens(self) -> int:
        """Tokens that are read, padding not counted."""
        return sum(map(_num_tokens, self.groups))


def micro_batches(groups: Sequence[GroupTokens], token_budget: int, *, packed: bool) -> list[MicroBatch]:
    """Cut groups into passes of at most ``token_budget`` tokens, padding counted, or of one longer completion.

    Args:
        packed: groups stand behind one another with their prompt once; one that is too large is cut between
            completions. The largest are placed first, each where there is room. Else every completion has a row
            with a prompt of its own, and rows of like length come together.

    >>> groups = [GroupTokens((1,), ((2, 3), (4,) * 8)), GroupTokens((5, 6), ((7, 8), (9,) * 6, (1, 2, 3)))]
    >>> [batch.completions for batch in micro_batches(groups, 13, packed=True)]
    [(2, 3, 4), (0, 1)]
    >>> [batch.completions for batch in micro_batches(groups, 10, packed=True)]
    [(2, 3), (1,), (4, 0)]
    >>> [batch.completions for batch in micro_batches(groups, 18, packed=False)]
    [(1, 3), (4, 2), (0,)]
    """
    parts = sorted(_parts(groups, token_budget if packed else 0), key=lambda part: -_num_tokens(part.tokens))
    return [_batch(together) for together in (_fill if packed else _line_up)(parts, token_budget)]


def pack(batch: MicroBatch, *, packed: bool, pad_id: int) -> PackedBatch:
    """The input of a pass: one row for all its groups, or one for each completion, padded with ``pad_id``."""
    return pack_groups(batch.groups) if packed else pack_rows(batch.groups, pad_id)


def _fill(parts: Sequence[_Part], token_budget: int) -> list[list[_Part]]:
    """Every part where there is room first."""
    batches: list[list[_Part]] = []
    room: list[int] = []
    for part in parts:
        size = _num_tokens(part.tokens)
        place = next((number for number, left in enumerate(room) if size <= left), len(room))
        if place == len(room):
            batches.append([])
            room.append(token_budget)
        batches[place].append(part)
        room[place] -= size
    return batches


def _line_up(rows: Sequence[_Part], token_budget: int) -> list[list[_Part]]:
    """Rows that come longest first, so that a batch's first row is its width."""
    batches: list[list[_Part]] = []
    width = 0
    for row in rows:
        size = _num_tokens(row.tokens)
        if batches and size >= LEAST_FILLED * width and width * (len(batches[-1]) + 1) <= token_budget:
            batches[-1].append(row)
        else:
            batches.append([row])
            width = size
    return batches


@dataclass(frozen=True, slots=True)
class _Part:
    """A prompt with some of its completions."""

    tokens: GroupTokens
    completions: range


def _num_tokens(group: GroupTokens) -> int:
    return len(group.prompt_ids) + sum(map(len, group.completion_ids))


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
