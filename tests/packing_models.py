"""Small models of many architectures, and what a plain loop says of their tokens, for the tests of packing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from distill.packing.backward import backpropagate
from distill.packing.head import TokenStatistics
from distill.packing.layout import GroupTokens, PackedBatch
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


def weighted_gradients(
    model: Any, batch: PackedBatch, coefficients: torch.Tensor, **options: Any
) -> tuple[TokenStatistics, dict[str, torch.Tensor]]:
    """What ``backpropagate`` shows its loss, and the gradients of the log-probabilities' sum with these coefficients."""
    model.zero_grad()
    seen: list[TokenStatistics] = []
    ends = (0, *batch.completion_ends)

    def loss(statistics: TokenStatistics, completions: slice) -> torch.Tensor:
        seen.append(TokenStatistics(statistics.logprobs.detach().clone(), statistics.entropies))
        own = coefficients[ends[completions.start] : ends[completions.stop]]
        return (own.to(statistics.logprobs.dtype) * statistics.logprobs).sum()

    backpropagate(model, batch, loss, **options)
    statistics = (torch.cat([getattr(each, name) for each in seen]) for name in ("logprobs", "entropies"))
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return TokenStatistics(*statistics), found


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


def llama_model(**options: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return _seeded(LlamaForCausalLM, LlamaConfig(**_small(), num_key_value_heads=4, **options))


def qwen3_model() -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return _seeded(Qwen3ForCausalLM, Qwen3Config(**_small(), num_key_value_heads=1, head_dim=16))


def mistral_model() -> Any:
    from transformers import MistralConfig, MistralForCausalLM

    return _seeded(MistralForCausalLM, MistralConfig(**_small(), num_key_value_heads=2, sliding_window=4096))


def sliding_qwen2_model() -> Any:
    return make_tiny_model(use_sliding_window=True, sliding_window=64, max_window_layers=1)


def hybrid_model() -> Any:
    from transformers import Lfm2Config, Lfm2ForCausalLM

    options = _small() | {"layer_types": ["conv", "full_attention"]}
    return _seeded(Lfm2ForCausalLM, Lfm2Config(**options, num_key_value_heads=2))


def recurrent_model() -> Any:
    from transformers import MambaConfig, MambaForCausalLM

    return _seeded(MambaForCausalLM, MambaConfig(vocab_size=264, hidden_size=32, state_size=4, num_hidden_layers=2))


def _small() -> dict[str, Any]:
    return {
        "vocab_size": 264, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "initializer_range": 0.5, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip


def _seeded(make: Any, config: Any) -> Any:
    torch.manual_seed(0)
    return make(config).eval()


PACKABLE: dict[str, Callable[[], Any]] = {
    "qwen2": make_tiny_model,
    "qwen3": qwen3_model,
    "llama": llama_model,
    "lora": lora_model,
    "learned positions": gpt2_model,
}
NOT_PACKABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "alibi": (bloom_model, "not 'sdpa'"),
    "soft cap": (gemma_model, "not 'sdpa'"),
    "sliding window": (mistral_model, "sliding window"),
    "some sliding layers": (sliding_qwen2_model, "'sliding_attention'"),
    "hybrid": (hybrid_model, "'conv'"),
    "recurrent": (recurrent_model, ""),
}


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
