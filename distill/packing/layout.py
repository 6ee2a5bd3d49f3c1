"""Groups of token ids -> one batch for a causal language model.

``pack_rows`` gives every completion a row of its own, ``[prompt | completion]``, padded on the right: any
model reads that. ``pack_groups`` puts all groups into one row, ``[prompt | y1 | ... | y8 | prompt | ...]``,
where a prompt stands once and nothing is padding; for models whose attention keeps completions apart, see
``distill.packing.group_check``. The flat index arrays say where the hidden state stands that predicts each
completion token, so nothing downstream needs to know how the groups were laid out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from distill.errors import DistillError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    TokenIds: TypeAlias = Sequence[int] | npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class GroupTokens:
    """The token ids of one prompt and of the completions that follow it; tuples or int32 arrays."""

    prompt_ids: TokenIds
    completion_ids: Sequence[TokenIds]


@dataclass(frozen=True, slots=True)
class GroupSpan:
    """Where one group stands in a packed row: its prompt from ``start`` to ``prompt_end``, then its completions."""

    start: int
    prompt_end: int
    completion_ends: tuple[int, ...]
    """The column behind each completion, which begins where the one before it ends, the first behind the prompt."""

    @property
    def end(self) -> int:
        """The column behind the group."""
        return self.completion_ends[-1] if self.completion_ends else self.prompt_end

    @property
    def completions(self) -> Iterator[tuple[int, int]]:
        """Where each completion begins and ends."""
        return pairwise((self.prompt_end, *self.completion_ends))


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """C completions as model input of B rows and T columns, and where their M tokens are predicted.

    Position m of every (M,) tensor is about the same completion token. The M tokens stand completion
    after completion, each from its first token to its last; completions stand in the order of the groups.
    """

    input_ids: torch.Tensor
    """(B, T) int64, padded on the right."""
    attention_mask: torch.Tensor
    """(B, T) bool, True on real tokens."""
    position_ids: torch.Tensor
    """(B, T) int64, counted from 0 in every row; in a packed row every completion counts on from its prompt."""
    predictor_rows: torch.Tensor
    """(M,) the row of the hidden state that predicts the token."""
    predictor_columns: torch.Tensor
    """(M,) the column of that hidden state: one before the token's own, or the last of the prompt."""
    targets: torch.Tensor
    """(M,) the token itself."""
    completion_index: torch.Tensor
    """(M,) which of the C completions the token belongs to."""
    completion_lengths: torch.Tensor
    """(C,) tokens of each completion; sums to M."""
    completion_ends: tuple[int, ...]
    """Where the tokens of each of the C completions end among the M; known without asking a device."""
    spans: tuple[GroupSpan, ...] = ()
    """The groups of a packed row; empty where every completion has a row of its own."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> PackedBatch:
        """The same batch on another device."""
        names = [field.name for field in fields(self) if field.name not in ("spans", "completion_ends")]
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=non_blocking) for name in names})

    def part(self, completions: slice) -> PackedBatch:
        """The same input, of which only these completions, which follow one another, are looked at."""
        first, last, _ = completions.indices(len(self.completion_ends))
        start = self.completion_ends[first - 1] if first else 0
        tokens = slice(start, self.completion_ends[last - 1] if last > first else start)
        return replace(
            self,
            predictor_rows=self.predictor_rows[tokens],
            predictor_columns=self.predictor_columns[tokens],
            targets=self.targets[tokens],
            completion_index=self.completion_index[tokens] - first,
            completion_lengths=self.completion_lengths[first:last],
            completion_ends=tuple(end - start for end in self.completion_ends[first:last]),
        )


def pack_rows(groups: Sequence[GroupTokens], pad_id: int) -> PackedBatch:
    """One row per completion, right padded with ``pad_id`` to the longest row.

    >>> batch = pack_rows([GroupTokens((5, 6), ((7, 8, 9), (3,)))], pad_id=0)
    >>> batch.input_ids.tolist()
    [[5, 6, 7, 8, 9], [5, 6, 3, 0, 0]]
    >>> batch.targets.tolist(), batch.predictor_rows.tolist(), batch.predictor_columns.tolist()
    ([7, 8, 9, 3], [0, 0, 0, 1], [1, 2, 3, 1])
    >>> batch.completion_index.tolist(), batch.completion_lengths.tolist()
    ([0, 0, 0, 1], [3, 1])

    Raises:
        DistillError: a prompt without tokens, which leaves a completion's first token unpredicted.
    """
    import numpy as np

    _check_prompts(groups)
    rows = [(group.prompt_ids, completion_ids) for group in groups for completion_ids in group.completion_ids]
    prompt_lengths = np.array([len(prompt_ids) for prompt_ids, _ in rows], dtype=np.int64)
    completion_lengths = np.array([len(completion_ids) for _, completion_ids in rows], dtype=np.int64)
    lengths = prompt_lengths + completion_lengths
    input_ids = np.full((len(rows), int(lengths.max(initial=0))), pad_id, dtype=np.int64)
    for row, (prompt_ids, completion_ids) in enumerate(rows):
        input_ids[row, : prompt_lengths[row]] = prompt_ids
        input_ids[row, prompt_lengths[row] : lengths[row]] = completion_ids
    return _with_flat_indices(input_ids, prompt_lengths, completion_lengths)


def pack_groups(groups: Sequence[GroupTokens]) -> PackedBatch:
    """All groups in one row, each prompt once; the M tokens come in the same order as from ``pack_rows``.

    >>> batch = pack_groups([GroupTokens((5, 6), ((7, 8, 9), (3,)))])
    >>> batch.input_ids.tolist(), batch.position_ids.tolist()
    ([[5, 6, 7, 8, 9, 3]], [[0, 1, 2, 3, 4, 2]])
    >>> batch.targets.tolist(), batch.predictor_columns.tolist()  # the prompt's last state predicts 7 and 3
    ([7, 8, 9, 3], [1, 2, 3, 1])
    >>> [list(span.completions) for span in batch.spans]
    [[(2, 5), (5, 6)]]

    Raises:
        DistillError: a prompt without tokens, which leaves a completion's first token unpredicted.
    """
    import numpy as np
    import torch

    _check_prompts(groups)
    spans = _spans(groups)
    positions, predictors = [], []
    for span in spans:
        prompt_tokens = span.prompt_end - span.start
        positions.append(np.arange(prompt_tokens))
        for begin, end in span.completions:
            positions.append(np.arange(prompt_tokens, prompt_tokens + end - begin))
            predictors.append(np.arange(begin - 1, end - 1))
            predictors[-1][:1] = span.prompt_end - 1
    completions = [np.asarray(ids, dtype=np.int64) for group in groups for ids in group.completion_ids]
    pieces = [np.asarray(ids, dtype=np.int64) for group in groups for ids in (group.prompt_ids, *group.completion_ids)]
    input_ids, lengths = torch.from_numpy(np.concatenate(pieces)), torch.tensor([len(ids) for ids in completions])
    columns = torch.from_numpy(np.concatenate(predictors))
    return PackedBatch(
        input_ids=input_ids[None],
        attention_mask=torch.ones_like(input_ids, dtype=torch.bool)[None],
        position_ids=torch.from_numpy(np.concatenate(positions))[None],
        predictor_rows=torch.zeros_like(columns),
        predictor_columns=columns,
        targets=torch.from_numpy(np.concatenate(completions)),
        completion_index=torch.repeat_interleave(lengths),
        completion_lengths=lengths,
        completion_ends=tuple(accumulate(map(len, completions))),
        spans=spans,
    )


def num_tokens_in_rows(groups: Sequence[GroupTokens]) -> int:
    """Tokens of all completions, each with a prompt of its own.

    >>> num_tokens_in_rows([GroupTokens((5, 6), ((7, 8, 9), (3,)))])
    8
    """
    return sum(len(group.prompt_ids) + len(ids) for group in groups for ids in group.completion_ids)


def _spans(groups: Sequence[GroupTokens]) -> tuple[GroupSpan, ...]:
    """Where each group stands when all stand one behind the other."""
    spans: list[GroupSpan] = []
    for group in groups:
        start = spans[-1].end if spans else 0
        lengths = (len(ids) for ids in group.completion_ids)
        prompt_end, *ends = accumulate(lengths, initial=start + len(group.prompt_ids))
        spans.append(GroupSpan(start, prompt_end, tuple(ends)))
    return tuple(spans)


def _check_prompts(groups: Sequence[GroupTokens]) -> None:
    if any(len(group.prompt_ids) == 0 and len(group.completion_ids) for group in groups):
        raise DistillError(
            "a prompt has no token ids, so nothing predicts the first token of its completions",
            hint="render the prompt with a tokenizer, or give it at least the tokenizer's begin token",
        )


def _with_flat_indices(
    input_ids: npt.NDArray[Any], prompt_lengths: npt.NDArray[Any], completion_lengths: npt.NDArray[Any]
) -> PackedBatch:
    """The batch of (B, T) rows whose completions begin after ``prompt_lengths`` (B,) tokens."""
    import numpy as np
    import torch

    columns = np.arange(input_ids.shape[1])[None, :]  # (1, T)
    starts, ends = prompt_lengths[:, None], (prompt_lengths + completion_lengths)[:, None]
    # nonzero walks row after row, so tokens come out completion after completion
    rows, target_columns = np.nonzero((columns >= starts) & (columns < ends))
    return PackedBatch(
        input_ids=torch.from_numpy(input_ids),
        attention_mask=torch.from_numpy(columns < ends),
        position_ids=torch.from_numpy(columns.repeat(len(input_ids), axis=0)),
        predictor_rows=torch.from_numpy(rows),
        predictor_columns=torch.from_numpy(target_columns - 1),
        targets=torch.from_numpy(input_ids[rows, target_columns]),
        completion_index=torch.from_numpy(rows),
        completion_lengths=torch.from_numpy(completion_lengths),
        completion_ends=tuple(completion_lengths.cumsum().tolist()),
    )
