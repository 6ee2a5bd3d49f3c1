"""How groups are cut into forward passes: all completions once, within the budget, each behind its own prompt."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.packing.layout import GroupTokens
from distill.packing.micro_batches import LEAST_FILLED, micro_batches

Shape = tuple[int, list[int]]
SHAPES = st.lists(st.tuples(st.integers(1, 20), st.lists(st.integers(0, 40), max_size=9)), max_size=12)


def groups_of(shapes: Sequence[Shape]) -> list[GroupTokens]:
    """Prompts and completions of these lengths; every token names its group."""
    return [
        GroupTokens((n,) * prompt, [(n,) * length for length in lengths]) for n, (prompt, lengths) in enumerate(shapes)
    ]


def completions_of(groups: Sequence[GroupTokens]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(tuple(group.prompt_ids), tuple(ids)) for group in groups for ids in group.completion_ids]


@pytest.mark.parametrize("packed", [False, True])
@given(shapes=SHAPES, budget=st.integers(1, 150))
def test_every_completion_is_read_once_behind_its_own_prompt(packed: bool, shapes: list[Shape], budget: int) -> None:
    groups = groups_of(shapes)
    batches = micro_batches(groups, budget, packed=packed)
    expected = completions_of(groups)
    numbers = [number for batch in batches for number in batch.completions]
    assert sorted(numbers) == list(range(len(expected)))
    assert [each for batch in batches for each in completions_of(batch.groups)] == [expected[n] for n in numbers]


@given(shapes=SHAPES, budget=st.integers(1, 150))
def test_packed_groups_stay_within_the_budget(shapes: list[Shape], budget: int) -> None:
    for batch in micro_batches(groups_of(shapes), budget, packed=True):
        size = sum(len(group.prompt_ids) + sum(map(len, group.completion_ids)) for group in batch.groups)
        assert size <= budget or len(batch.completions) == 1


@given(shapes=SHAPES, budget=st.integers(1, 150))
def test_padded_rows_stay_within_the_budget(shapes: list[Shape], budget: int) -> None:
    for batch in micro_batches(groups_of(shapes), budget, packed=False):
        lengths = [len(prompt) + len(ids) for prompt, ids in completions_of(batch.groups)]
        assert len(lengths) * max(lengths) <= budget or len(lengths) == 1
        assert min(lengths) >= LEAST_FILLED * max(lengths)


def test_a_group_that_fits_stays_whole_and_fills_up_with_smaller_ones() -> None:
    groups = groups_of([(10, [20, 20]), (5, [5]), (4, [20, 20]), (2, [3, 4, 5])])
    # 50, 10, 44 and 14 tokens
    assert [batch.completions for batch in micro_batches(groups, 60, packed=True)] == [(0, 1, 2), (3, 4, 5, 6, 7)]


def test_rows_of_like_length_come_together() -> None:
    groups = groups_of([(1, [4, 49, 5]), (2, [47, 3])])
    # rows of 5, 50, 6, 49 and 5 tokens
    assert [batch.completions for batch in micro_batches(groups, 100, packed=False)] == [(1, 3), (2, 0, 4)]


def test_a_row_much_shorter_than_its_neighbours_begins_another_pass() -> None:
    # rows of 100, 76 and 74 tokens: three quarters of 100 are 75
    groups = groups_of([(1, [99, 75, 73])])
    assert [batch.completions for batch in micro_batches(groups, 10**6, packed=False)] == [(0, 1), (2,)]


def test_a_group_too_large_for_a_pass_is_cut_between_completions() -> None:
    # 4 + 10 + 10 = 24 tokens, 4 + 10 + 5 = 19, and the prompt again with what is left: 4 + 8
    batches = micro_batches(groups_of([(4, [10, 10, 10, 5, 8])]), 24, packed=True)
    assert [batch.completions for batch in batches] == [(0, 1), (2, 3), (4,)]
    assert [batch.num_tokens for batch in batches] == [24, 19, 12]
