"""Whether a model may read packed groups: asked once when it is loaded, answered by trying."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill.packing.attention import GROUP_ATTENTION, register
from distill.packing.head import predicting_states
from distill.packing.layout import GroupTokens, PackedBatch, pack_groups, pack_rows

if TYPE_CHECKING:
    import torch

# Hidden states of a packed row may differ from those of separate rows by this share of their norm. Other
# kernels and sums in another order make 1e-6 in float32 and 0.01 in bfloat16; a completion that does not
# see its prompt, sees its neighbour or counts its positions wrongly makes 0.2 and more.
TOLERANCE = {"float64": 1e-4, "float32": 1e-3, "bfloat16": 0.1, "float16": 0.03}
# Two groups, so that one must not see the other; a completion of one token; no two of the same length.
CHECKED = ((9, (6, 1, 12)), (4, (3, 5)))


def use_group_attention(model: Any) -> str:
    """Have ``model`` read packed groups from here on; an empty text, or why it cannot and is left as it was.

    Reads two small groups of arbitrary tokens packed and as separate rows, and compares. A model with
    sliding windows would pass that with short rows, so what its configuration says is believed first.
    """
    reason = known_hindrance(model)
    if reason:
        return reason
    before = model.config.get_text_config()._attn_implementation
    register()
    model.set_attn_implementation(GROUP_ATTENTION)
    reason = _difference(model)
    if reason:
        model.set_attn_implementation(before)
    return reason


def known_hindrance(model: Any) -> str:
    """Why a model cannot read packed groups, by what its configuration says; an empty text where that says nothing."""
    config = model.config.get_text_config()
    if config._attn_implementation not in ("sdpa", GROUP_ATTENTION):
        return f"its attention is '{config._attn_implementation}', not 'sdpa'"
    if getattr(config, "alibi", False) or getattr(config, "position_embedding_type", "") == "alibi":
        return "its attention looks at distances in the row (ALiBi)"
    other = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention"})
    if other:
        return f"some of its layers are of type '{other[0]}'"
    if getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True):
        return "its attention has a sliding window"
    return ""


def _difference(model: Any) -> str:
    """Why packed groups do not give the states of separate rows, or an empty text when they do."""
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            groups = _arbitrary_groups(model)
            rows = _states(model, pack_rows(groups, pad_id=1))
            packed = _states(model, pack_groups(groups))
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
        # a model's own code meets inputs here that it was not written for, and may fail in its own way
        return str(error).partition("\n")[0]
    finally:
        model.train(was_training)
    found = ((packed - rows).norm() / rows.norm()).item()
    allowed = TOLERANCE[str(next(model.parameters()).dtype).removeprefix("torch.")]
    return "" if found <= allowed else f"packed hidden states differ by {found:.2g} from those of separate rows"


def _arbitrary_groups(model: Any) -> list[GroupTokens]:
    import torch

    generator = torch.Generator().manual_seed(0)
    vocabulary = model.get_input_embeddings().weight.shape[0]

    def tokens(number: int) -> list[int]:
        drawn: list[int] = torch.randint(vocabulary, (number,), generator=generator).tolist()
        return drawn

    return [GroupTokens(tokens(prompt), [tokens(length) for length in lengths]) for prompt, lengths in CHECKED]


def _states(model: Any, batch: PackedBatch) -> torch.Tensor:
    return predicting_states(model, batch.to(model.get_input_embeddings().weight.device)).double()
