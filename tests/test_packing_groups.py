"""Packed groups against separate rows: the same values and gradients, and rows where a model cannot."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from distill.errors import DistillError
from distill.packing.attention import GROUP_ATTENTION
from distill.packing.group_check import use_group_attention
from distill.packing.head import TokenStatistics, token_statistics
from distill.packing.layout import GroupTokens, pack_groups, pack_rows
from distill.packing.linear import checkpoint_contexts
from tests.packing_models import GROUPS, NOT_PACKABLE, PACKABLE, llama_model, random_coefficients, weighted_gradients
from tests.tiny import make_tiny_model

LAYOUT_FIELDS = ("targets", "completion_index", "completion_lengths")


def test_a_prompt_stands_once_and_positions_go_on_from_it():
    batch = pack_groups(GROUPS)
    assert batch.input_ids.tolist() == [
        [10, 11, 12, 20, 21, 22, 2, 30, 2, 40, 41, 42, 43, 44, 45, 2, 13, 50, 51, 60, 61, 62]
    ]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 6, 3, 4, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 1, 2, 3]]
    # the prompt's last column, 2 and 16, predicts every first token
    assert batch.predictor_columns.tolist() == [2, 3, 4, 5, 2, 7, 2, 9, 10, 11, 12, 13, 14, 16, 17, 16, 19, 20]
    assert [(span.start, span.prompt_end, span.end) for span in batch.spans] == [(0, 3, 16), (16, 17, 22)]


@pytest.mark.parametrize("groups", [GROUPS, [GroupTokens((5, 6), ((), (7,), ())), GroupTokens((9,), ((8, 8),))]])
def test_packed_tokens_come_in_the_order_of_rows(groups):
    packed, rows = pack_groups(groups), pack_rows(groups, pad_id=0)
    for name in LAYOUT_FIELDS:
        assert torch.equal(getattr(packed, name), getattr(rows, name)), name


def test_a_prompt_without_tokens_is_refused_when_packed():
    with pytest.raises(DistillError, match="no token ids"):
        pack_groups([GroupTokens((), ((7,),))])


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("name", PACKABLE)
def test_packed_groups_give_the_values_and_gradients_of_rows(name, checkpointing):
    model = PACKABLE[name]()
    assert use_group_attention(model) == ""
    if checkpointing:
        contexts = partial(checkpoint_contexts, torch.device("cpu"))
        model.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False, "context_fn": contexts}
        )
        model.train()  # without it nothing is checkpointed
        for part in model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
    groups = [*GROUPS, GroupTokens(tuple(range(70, 90)), ((3,), (), tuple(range(100, 140))))]
    found: list[tuple[TokenStatistics, dict[str, torch.Tensor]]] = []
    for batch in (pack_rows(groups, pad_id=0), pack_groups(groups)):
        found.append(weighted_gradients(model, batch, random_coefficients(len(batch.targets))))
    (rows, rows_gradients), (packed, packed_gradients) = found
    torch.testing.assert_close(packed.logprobs, rows.logprobs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(packed.entropies, rows.entropies, rtol=1e-5, atol=1e-5)
    assert packed_gradients.keys() == rows_gradients.keys()
    for parameter, gradient in rows_gradients.items():
        # relative to the largest of its matrix, since single entries are sums that nearly cancel
        torch.testing.assert_close(
            packed_gradients[parameter], gradient, rtol=0, atol=1e-5 * max(1.0, float(gradient.abs().max()))
        )


def test_the_order_of_completions_changes_no_value():
    model = make_tiny_model()
    assert use_group_attention(model) == ""
    (group, _) = GROUPS
    turned = GroupTokens(group.prompt_ids, group.completion_ids[::-1])
    there, back = (token_statistics(model, pack_groups([each])).logprobs for each in (group, turned))
    for one, other in zip(there.split([4, 2, 7]), reversed(back.split([7, 2, 4])), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NOT_PACKABLE)
def test_a_model_that_cannot_read_packed_groups_says_why_and_stays_as_it_was(name):
    make, words = NOT_PACKABLE[name]
    model = make()
    before = model.config._attn_implementation
    reason = use_group_attention(model)
    assert reason
    assert words in reason
    assert model.config._attn_implementation == before
    assert bool(token_statistics(model, pack_rows(GROUPS, pad_id=0)).logprobs.isfinite().all())


def test_a_model_whose_layers_ignore_the_segments_is_found_out():
    model = llama_model()
    forward = model.get_decoder().forward

    def forgetful(**inputs: Any) -> Any:
        inputs.pop("group_segments", None)
        return forward(**inputs | {"attention_mask": None})

    model.get_decoder().forward = forgetful
    assert "differ by" in use_group_attention(model)
    assert model.config._attn_implementation == "sdpa"


def test_a_model_whose_code_fails_on_packed_groups_is_read_in_rows():
    model = llama_model()
    decoder = model.get_decoder()
    forward = decoder.forward

    def strict(*, input_ids: torch.Tensor, use_cache: bool, return_dict: bool) -> Any:
        return forward(input_ids=input_ids, use_cache=use_cache, return_dict=return_dict)

    decoder.forward = strict
    assert "unexpected keyword argument" in use_group_attention(model)


def test_the_check_leaves_the_mode_of_the_model_alone_and_passes_twice():
    model = make_tiny_model().train()
    assert use_group_attention(model) == ""
    assert use_group_attention(model) == ""
    assert model.training


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_half_precision_passes_the_check(dtype):
    assert use_group_attention(make_tiny_model().to(dtype)) == ""


def test_without_segments_a_model_attends_as_before():
    model, plain = make_tiny_model(), make_tiny_model()
    assert use_group_attention(model) == ""
    input_ids = torch.tensor([[0, 0, 5, 6, 7], [8, 9, 10, 11, 12]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    with torch.no_grad():
        for inputs in ({"input_ids": input_ids}, {"input_ids": input_ids, "attention_mask": mask}):
            assert torch.equal(model(**inputs).logits, plain(**inputs).logits)
        generate = {"inputs": input_ids, "attention_mask": mask, "max_new_tokens": 5, "do_sample": False}
        assert torch.equal(model.generate(**generate), plain.generate(**generate))


def test_a_saved_model_does_not_remember_its_attention(tmp_path):
    model = make_tiny_model()
    assert use_group_attention(model) == ""
    model.save_pretrained(tmp_path)
    assert GROUP_ATTENTION not in (tmp_path / "config.json").read_text("utf-8")


def test_moving_a_packed_batch_keeps_its_spans():
    batch = pack_groups(GROUPS)
    assert batch.to("cpu").spans == batch.spans
    assert replace(batch, spans=()).to("cpu").spans == ()
