"""Rows of a decode window: which come, which go, and the columns of the cache that they share.

All rows end at the same column. A row is padding, then its prompt, then its completion, without a gap:

    columns   0 1 2 3 4 5
    row 0     . . p p c c       a prompt of 2 tokens, admitted two steps ago
    row 1     p p p p p c       a prompt of 5 tokens, admitted one step ago

Positions are counted from a row's first real token, so padding changes nothing for rotary models, nor
for ALiBi models, which count positions in the attention mask. Since a row has no gap, its distances in
columns are its distances in tokens, and that is all that a sliding window looks at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

# Dropping rows copies the whole cache, so finished rows stay, unread, until they are this share.
FINISHED_SHARE = 1 / 8
SPARE_COLUMNS = 32


@dataclass(slots=True)
class Rows:
    """R rows of C columns; every tensor's first axis is the rows."""

    cache: Any
    """A DynamicCache."""
    mask: torch.Tensor
    """(R, C) bool, True on prompt and completion tokens that the cache holds."""
    logits: torch.Tensor
    """(R, V) of the next token."""
    tokens: torch.Tensor
    """(R,) drawn last and not yet read by the model."""
    slots: torch.Tensor
    """(R,) where the completion's numbers are written."""
    lengths: torch.Tensor
    """(R,) tokens of the completion so far."""
    limits: torch.Tensor
    """(R,) tokens that the completion may have."""
    running: torch.Tensor
    """(R,) bool, False once finished."""


PER_ROW = ("mask", "logits", "tokens", "slots", "lengths", "limits", "running")


def new_cache(config: PreTrainedConfig) -> Any:
    """An empty cache for a model; one whose rows can be merged wherever the model allows."""
    from transformers import DynamicCache

    special = DynamicCache(config=config)
    if not has_columns(special):
        return special
    # sliding layers too keep all columns, so that all layers have the same; the mask does the sliding
    plain = DynamicCache()
    plain.layer_class_to_replicate = _roomy_layer()
    return plain


def has_columns(cache: Any) -> bool:
    """True when every layer keeps keys and values per column; False for recurrent and other special states.

    A recurrent state has read its row from the first column on, so rows of different ages cannot be aligned.
    """
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer, _roomy_layer()) for layer in cache.layers)


@cache
def _roomy_layer() -> type:
    """A DynamicLayer with spare columns: a step writes one column instead of copying all of them."""
    from transformers.cache_utils import DynamicLayer

    base: Any = DynamicLayer

    class RoomyLayer(base):  # type: ignore[misc]
        is_initialized: bool
        room: tuple[torch.Tensor, torch.Tensor] | None = None
        handed_out: torch.Tensor | None = None

        def update(
            self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
        ) -> tuple[torch.Tensor, torch.Tensor]:
            if not self.is_initialized:
                self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
                self.dtype, self.device = key_states.dtype, key_states.device
                self.is_initialized = True
            used = self.keys.shape[2]
            wanted = used + key_states.shape[2]
            # rows were dropped, merged or padded when the keys are no longer the ones handed out
            if self.room is None or self.keys is not self.handed_out or self.room[0].shape[2] < wanted:
                self.room = _with_spare_columns(self.keys, wanted), _with_spare_columns(self.values, wanted)
            keys, values = self.room
            keys[:, :, used:wanted], values[:, :, used:wanted] = key_states, value_states
            self.keys, self.values = keys[:, :, :wanted], values[:, :, :wanted]
            self.handed_out = self.keys
            return self.keys, self.values

    return RoomyLayer


def _with_spare_columns(states: torch.Tensor, num_columns: int) -> torch.Tensor:
    """The states (R, heads, C, size) at the left of a tensor of more than ``num_columns`` columns."""
    num_rows, num_heads, used, size = states.shape
    room = states.new_empty(num_rows, num_heads, num_columns + SPARE_COLUMNS, size)
    room[:, :, :used] = states
    return room


def merge_rows(old: Rows, new: Rows) -> Rows:
    """The running rows of ``old``, then those of ``new``; the narrower of the two is padded on the left."""
    import torch

    old = _select(old, old.running.nonzero().squeeze(-1))
    num_columns = max(old.mask.shape[1], new.mask.shape[1])
    old, new = _widen(old, num_columns), _widen(new, num_columns)
    for layer, other in zip(_layers(old.cache), _layers(new.cache), strict=True):
        layer.keys = torch.cat([layer.keys, other.keys])
        layer.values = torch.cat([layer.values, other.values])
    return Rows(old.cache, *(torch.cat([getattr(old, name), getattr(new, name)]) for name in PER_ROW))


def without_finished(rows: Rows, num_running: int) -> Rows | None:
    """The rows after dropping finished ones, once these are worth it; None when no row is running."""
    if num_running == 0:
        return None
    num_rows = len(rows.running)
    if num_rows - num_running < max(1, FINISHED_SHARE * num_rows):
        return rows
    return _select(rows, rows.running.nonzero().squeeze(-1))


def _select(rows: Rows, kept: torch.Tensor) -> Rows:
    """Only the rows ``kept`` (K,), without the columns in which all of them are padding."""
    if len(kept) == len(rows.running):
        return rows
    rows.cache.reorder_cache(kept)
    fewer = Rows(rows.cache, *(getattr(rows, name)[kept] for name in PER_ROW))
    first = int(fewer.mask.any(dim=0).long().argmax())
    if first and has_columns(rows.cache):
        fewer.mask = fewer.mask[:, first:]
        for layer in _layers(rows.cache):
            layer.keys, layer.values = layer.keys[:, :, first:], layer.values[:, :, first:]
    return fewer


def _widen(rows: Rows, num_columns: int) -> Rows:
    """The same rows with padding on the left."""
    from torch.nn.functional import pad

    missing = num_columns - rows.mask.shape[1]
    if missing:
        rows.mask = pad(rows.mask, (missing, 0), value=False)
        for layer in _layers(rows.cache):
            layer.keys = pad(layer.keys, (0, 0, missing, 0))
            layer.values = pad(layer.values, (0, 0, missing, 0))
    return rows


def _layers(cache: Any) -> list[Any]:
    """The layers that hold keys (R, heads, C, size) and values alike; layers that share another's hold none."""
    return [layer for layer in cache.layers if layer.is_initialized]
