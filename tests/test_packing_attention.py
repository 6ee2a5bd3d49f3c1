"""Attention within the segments of a packed row: call by call, in one call, and on a GPU."""

from __future__ import annotations

import pytest
import torch

from distill.packing.attention import Segments, attend_at_once, group_attention, packed_inputs
from distill.packing.group_check import use_group_attention
from distill.packing.head import predicting_states
from distill.packing.layout import GroupTokens, pack_groups, pack_rows
from tests.packing_models import GROUPS
from tests.tiny import make_tiny_model


def varlen_by_hand(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, cu_seq_q: torch.Tensor, cu_seq_k: torch.Tensor,
    max_q: int, max_k: int, *, scale: float | None, window_size: tuple[int, int], enable_gqa: bool,
) -> torch.Tensor:  # fmt: skip
    """What PyTorch's attention for sequences of varying length says it does, one sequence and one query at a time."""
    assert window_size == (-1, 0)  # causal, aligned at the lower right
    key, value = (states.repeat_interleave(query.shape[1] // key.shape[1], 1) for states in (key, value))
    attended = torch.empty_like(query)
    ends_q, ends_k = cu_seq_q.tolist(), cu_seq_k.tolist()
    for first_q, last_q, first_k, last_k in zip(ends_q, ends_q[1:], ends_k, ends_k[1:], strict=False):
        assert last_q - first_q <= max_q
        assert last_k - first_k <= max_k
        for i in range(first_q, last_q):
            keys = slice(first_k, last_k - (last_q - 1 - i))
            weights = torch.softmax(torch.einsum("hd,khd->hk", query[i], key[keys]) * (scale or 1.0), dim=-1)
            attended[i] = torch.einsum("hk,khd->hd", weights, value[keys])
    return attended


def test_one_call_for_all_segments_gives_what_single_calls_give():
    groups = [*GROUPS, GroupTokens((1, 2), ((), (3,), ()))]
    batch = pack_groups(groups)
    segments: Segments = packed_inputs(batch)["group_segments"]
    assert int(segments.query_ends.diff().min()) > 0  # completions without tokens are no segments
    generator = torch.Generator().manual_seed(0)
    tokens = batch.input_ids.shape[1]
    query, key, value = (torch.randn(1, heads, tokens, 8, generator=generator) for heads in (4, 2, 2))
    each, _ = group_attention(torch.nn.Module(), query, key, value, None, segments, scaling=0.3)
    at_once = attend_at_once(varlen_by_hand, query, key, value, segments, 0.3)
    torch.testing.assert_close(at_once, each, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("option", ["sliding_window", "softcap", "s_aux", "position_bias"])
def test_attention_that_asks_for_more_than_segments_is_refused(option):
    states = torch.zeros(1, 1, 5, 4)
    segments = packed_inputs(pack_groups([GroupTokens((1, 2), ((3, 4, 5),))]))["group_segments"]
    with pytest.raises(ValueError, match=option):
        group_attention(torch.nn.Module(), states, states, states, None, segments, **{option: 3})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_packed_groups_give_the_states_of_rows_on_a_gpu():
    model = make_tiny_model(hidden_size=256, num_attention_heads=4).to("cuda", torch.bfloat16)
    assert use_group_attention(model) == ""
    rows, packed = pack_rows(GROUPS, pad_id=0).to("cuda"), pack_groups(GROUPS).to("cuda")
    with torch.no_grad():
        expected, found = predicting_states(model, rows).float(), predicting_states(model, packed).float()
    assert float((found - expected).norm() / expected.norm()) < 0.03
