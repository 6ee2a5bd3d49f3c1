"""Layout and head against a plain loop over model(...).logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from distill.errors import DistillError
from distill.packing.head import check_head, token_statistics
from distill.packing.layout import GroupTokens, PackedBatch, pack_rows
from tests.tiny import make_tiny_model

GROUPS = [
    GroupTokens((10, 11, 12), ((20, 21, 22, 2), (30, 2), (40, 41, 42, 43, 44, 45, 2))),
    GroupTokens((13,), ((50, 51), (60, 61, 62))),
]


def naive_statistics(model: Any, groups: list[GroupTokens]) -> tuple[torch.Tensor, torch.Tensor]:
    """One forward pass per completion, full logits, one token at a time."""
    logprobs, entropies = [], []
    for group in groups:
        for completion_ids in group.completion_ids:
            ids = torch.tensor([[*group.prompt_ids, *completion_ids]])
            distributions = torch.log_softmax(model(input_ids=ids).logits[0], dim=-1)
            for t, token in enumerate(completion_ids):
                predicted = distributions[len(group.prompt_ids) + t - 1]
                logprobs.append(predicted[token])
                entropies.append(-(predicted.exp() * predicted).sum())
    return torch.stack(logprobs), torch.stack(entropies)


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def random_coefficients(size: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def lora_model() -> Any:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(make_tiny_model(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(1))
    return model


def gemma_model() -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=264, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, final_logit_softcapping=3.0, initializer_range=0.5, attn_implementation="eager",
    )  # fmt: skip
    return Gemma2ForCausalLM(config).eval()


def cohere_model() -> Any:
    from transformers import CohereConfig, CohereForCausalLM

    torch.manual_seed(0)
    config = CohereConfig(
        vocab_size=264, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, logit_scale=0.0625, initializer_range=0.5, eos_token_id=2, bos_token_id=1,
    )  # fmt: skip
    return CohereForCausalLM(config).eval()


def granite_model() -> Any:
    from transformers import GraniteConfig, GraniteForCausalLM

    torch.manual_seed(0)
    config = GraniteConfig(
        vocab_size=264, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, logits_scaling=8.0, initializer_range=0.5,
    )  # fmt: skip
    return GraniteForCausalLM(config).eval()


def bloom_model() -> Any:
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(0)
    return BloomForCausalLM(
        BloomConfig(vocab_size=264, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.5)
    ).eval()


def gpt2_model() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=264, n_embd=32, n_layer=2, n_head=4, initializer_range=0.5, bos_token_id=1, eos_token_id=2
        )
    ).eval()


MODELS: dict[str, Callable[[], Any]] = {
    "tied": make_tiny_model,
    "untied": lambda: make_tiny_model(tie_word_embeddings=False),
    "lora": lora_model,
    "softcap": gemma_model,
    "logit_scale": cohere_model,
    "logits_scaling": granite_model,
    "alibi": bloom_model,
    "learned_positions": gpt2_model,
}


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


def test_a_prompt_without_tokens_is_refused():
    with pytest.raises(DistillError, match="no token ids"):
        pack_rows([GroupTokens((), ((7,),))], pad_id=0)


@pytest.mark.parametrize("name", MODELS)
def test_values_and_gradients_equal_a_naive_loop(name):
    model = MODELS[name]().double()
    batch = pack_rows(GROUPS, pad_id=0)
    check_head(model)
    expected_logprobs, expected_entropies = naive_statistics(model, GROUPS)
    coefficients = random_coefficients(len(expected_logprobs))
    expected = gradients(model, (coefficients * expected_logprobs).sum())
    for kept_bytes in (0, 2**30):
        statistics = token_statistics(model, batch, chunk_tokens=5, kept_bytes=kept_bytes)
        torch.testing.assert_close(statistics.logprobs, expected_logprobs, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(statistics.entropies, expected_entropies, rtol=1e-5, atol=1e-6)
        assert not statistics.entropies.requires_grad
        found = gradients(model, (coefficients * statistics.logprobs).sum())
        assert found.keys() == expected.keys()
        for parameter, gradient in expected.items():
            torch.testing.assert_close(found[parameter], gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk_tokens", [1, 4, 17, 18, 1000])
def test_the_chunk_size_changes_nothing(chunk_tokens):
    model, batch = make_tiny_model().double(), pack_rows(GROUPS, pad_id=0)
    with torch.no_grad():
        whole = token_statistics(model, batch)
        chunked = token_statistics(model, batch, chunk_tokens=chunk_tokens, kept_bytes=0)
    torch.testing.assert_close(chunked.logprobs, whole.logprobs, rtol=0, atol=1e-12)
    torch.testing.assert_close(chunked.entropies, whole.entropies, rtol=0, atol=1e-12)


def widened(batch: PackedBatch, columns: int, pad_id: int) -> PackedBatch:
    padding = torch.full((len(batch.input_ids), columns), pad_id)
    return replace(batch, input_ids=torch.cat([batch.input_ids, padding], dim=1))


@pytest.mark.parametrize("pad_id", [0, 77])
def test_neither_the_pad_id_nor_more_padding_changes_anything(pad_id):
    model = make_tiny_model().double()
    with torch.no_grad():
        plain = token_statistics(model, pack_rows(GROUPS, pad_id=0))
        padded = token_statistics(model, widened(pack_rows(GROUPS, pad_id=pad_id), 5, pad_id))
    torch.testing.assert_close(padded.logprobs, plain.logprobs, rtol=0, atol=1e-12)
    torch.testing.assert_close(padded.entropies, plain.entropies, rtol=0, atol=1e-12)


def test_logits_never_exist_for_more_than_a_chunk_of_tokens():
    model, batch = make_tiny_model(), pack_rows(GROUPS, pad_id=0)
    sizes = []
    model.get_output_embeddings().register_forward_hook(lambda *hooked: sizes.append(len(hooked[-1])))
    token_statistics(model, batch, chunk_tokens=5, kept_bytes=0).logprobs.sum().backward()
    # 18 tokens: 5 + 5 + 5 + 3 in the forward pass, once more in the backward pass
    assert sorted(sizes) == [3, 3, 5, 5, 5, 5, 5, 5]


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
    with torch.no_grad():
        statistics = token_statistics(make_tiny_model().bfloat16(), pack_rows(GROUPS, pad_id=0))
    assert statistics.logprobs.dtype == statistics.entropies.dtype == torch.float32
