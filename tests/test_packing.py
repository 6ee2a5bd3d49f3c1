"""Layout and head against a plain loop over model(...).logits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from distill.errors import DistillError
from distill.packing.head import check_head, token_statistics
from distill.packing.layout import GroupTokens, PackedBatch, pack_rows
from tests.packing_models import GROUPS
from tests.tiny import make_tiny_model


def test_a_row_is_prompt_then_completion_padded_on_the_right():
    batch = pack_rows(GROUPS, pad_id=0)
    assert batch.input_ids.tolist() == [
        [10, 11, 12, 20, 21, 22, 2, 0, 0, 0],
        [10, 11, 12, 30, 2, 0, 0, 0, 0, 0],
        [10, 11, 12, 40, 41, 42, 43, 44, 45, 2],
        [13, 50, 51, 0, 0, 0, 0, 0, 0, 0],
        [13, 60, 61, 62, 0, 0, 0, 0, 0, 0],
    ]
    assert batch.attention_mask.sum(dim=1).tolist() == [7, 5, 10, 3, 4]
    assert batch.completion_lengths.tolist() == [4, 2, 7, 2, 3]
    assert batch.completion_index.tolist() == [0] * 4 + [1] * 2 + [2] * 7 + [3] * 2 + [4] * 3


def test_every_target_stands_one_column_after_the_state_that_predicts_it():
    batch = pack_rows(GROUPS, pad_id=0)
    assert torch.equal(batch.input_ids[batch.predictor_rows, batch.predictor_columns + 1], batch.targets)
    assert bool(batch.attention_mask[batch.predictor_rows, batch.predictor_columns + 1].all())


def test_a_completion_may_contain_the_pad_token():
    batch = pack_rows([GroupTokens((5,), ((0, 0, 7), (8,)))], pad_id=0)
    assert batch.targets.tolist() == [0, 0, 7, 8]


def test_an_empty_completion_has_a_row_and_no_token():
    batch = pack_rows([GroupTokens((5, 6), ((), (7,)))], pad_id=0)
    assert batch.completion_lengths.tolist() == [0, 1]
    assert batch.completion_index.tolist() == [1]


def test_a_part_of_a_batch_is_about_its_completions_alone():
    batch = pack_rows(GROUPS, pad_id=0)
    part = batch.part(slice(1, 3))
    assert part.targets.tolist() == [30, 2, 40, 41, 42, 43, 44, 45, 2]
    assert part.predictor_rows.tolist() == [1] * 2 + [2] * 7
    assert part.predictor_columns.tolist() == [2, 3, *range(2, 9)]
    assert part.completion_index.tolist() == [0] * 2 + [1] * 7
    assert part.completion_lengths.tolist() == [2, 7]
    assert part.completion_ends == (2, 9)
    assert batch.part(slice(0, 5)).completion_ends == batch.completion_ends == (4, 6, 13, 15, 18)
    assert batch.part(slice(2, 2)).targets.tolist() == []


def test_a_prompt_without_tokens_is_refused():
    with pytest.raises(DistillError, match="no token ids"):
        pack_rows([GroupTokens((), ((7,),))], pad_id=0)


def widened(batch: PackedBatch, columns: int, pad_id: int) -> PackedBatch:
    padding = torch.full((len(batch.input_ids), columns), pad_id)
    return replace(batch, input_ids=torch.cat([batch.input_ids, padding], dim=1))


@pytest.mark.parametrize("pad_id", [0, 77])
def test_neither_the_pad_id_nor_more_padding_changes_anything(pad_id):
    model = make_tiny_model().double()
    plain = token_statistics(model, pack_rows(GROUPS, pad_id=0))
    padded = token_statistics(model, widened(pack_rows(GROUPS, pad_id=pad_id), 5, pad_id))
    torch.testing.assert_close(padded.logprobs, plain.logprobs, rtol=0, atol=1e-12)
    torch.testing.assert_close(padded.entropies, plain.entropies, rtol=0, atol=1e-12)


def test_an_adapted_output_layer_is_refused():
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(make_tiny_model(tie_word_embeddings=False), LoraConfig(r=2, target_modules=["lm_head"]))
    with pytest.raises(DistillError, match="plain linear output layer, found 'Linear'"):
        token_statistics(model, pack_rows(GROUPS, pad_id=0))


def test_a_model_with_unknown_logit_arithmetic_is_refused():
    model = make_tiny_model()
    forward = model.forward

    def scaled_forward(**inputs: Any) -> Any:
        made = forward(**inputs)
        made.logits = made.logits * 1.5
        return made

    model.forward = scaled_forward
    with pytest.raises(DistillError, match="'qwen2' does not make its logits"):
        check_head(model)


def test_checking_the_head_leaves_the_mode_of_the_model_alone():
    model = make_tiny_model().train()
    check_head(model)
    assert model.training


def test_statistics_of_a_bfloat16_model_are_float32():
    statistics = token_statistics(make_tiny_model().bfloat16(), pack_rows(GROUPS, pad_id=0))
    assert statistics.logprobs.dtype == statistics.entropies.dtype == torch.float32
