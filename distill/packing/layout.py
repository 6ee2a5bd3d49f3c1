"""Groups of token ids -> one batch for a causal language model.

Every completion is a row of its own, ``[prompt | completion]``, padded on the right. The flat index
arrays say where the hidden state stands that predicts each completion token, so nothing downstream
needs to know how the rows were laid out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
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
    """(B, T) int64, counted from 0 in every row."""
    predictor_rows: torch.Tensor
    """(M,) the row of the hidden state that predicts the token."""
    predictor_columns: torch.Tensor
    """(M,) the column of that hidden state: one before the token's own."""
    targets: torch.Tensor
    """(M,) the token itself."""
    completion_index: torch.Tensor
    """(M,) which of the C completions the token belongs to."""
    completion_lengths: torch.Tensor
    """(C,) tokens of each completion; sums to M."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> PackedBatch:
        """The same batch on another device."""
        moved = {field.name: getattr(self, field.name).to(device, non_blocking=non_blocking) for field in fields(self)}
        return PackedBatch(**moved)


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

    rows = [(group.prompt_ids, completion_ids) for group in groups for completion_ids in group.completion_ids]
    if any(len(prompt_ids) == 0 for prompt_ids, _ in rows):
        raise DistillError(
            "a prompt has no token ids, so nothing predicts the first token of its completions",
            hint="render the prompt with a tokenizer, or give it at least the tokenizer's begin token",
        )
    prompt_lengths = np.array([len(prompt_ids) for prompt_ids, _ in rows], dtype=np.int64)
    completion_lengths = np.array([len(completion_ids) for _, completion_ids in rows], dtype=np.int64)
    lengths = prompt_lengths + completion_lengths
    input_ids = np.full((len(rows), int(lengths.max(initial=0))), pad_id, dtype=np.int64)
    for row, (prompt_ids, completion_ids) in enumerate(rows):
        input_ids[row, : prompt_lengths[row]] = prompt_ids
        input_ids[row, prompt_lengths[row] : lengths[row]] = completion_ids
    return _with_flat_indices(input_ids, prompt_lengths, completion_lengths)


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
    )
