"""A byte-level tokenizer and two-layer random models: real transformers parts, small enough for every test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.records import Problem, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

SPECIAL_TOKENS = ("<|pad|>", "<|im_start|>", "<|im_end|>")
TEMPLATE_TOKENS = ("<think>", "</think>", "<answer>", "</answer>", "\\boxed{")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, three special tokens and the tags of the answer template; 264 ids, cached for the session."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL_TOKENS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in TEMPLATE_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=512,
    )


def make_tiny_model(seed: int = 0, **config_overrides: Any) -> Qwen2ForCausalLM:
    """A fresh two-layer random Qwen2 in float32, for tests that change weights.

    Its weights start wider than usual: a freshly initialised model gives every token nearly the
    same probability, and then nothing that reads the distribution is tested. Here a token's
    entropy is 1.4 to 3.7 nats.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = tiny_tokenizer()
    options: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "initializer_range": 0.5,
        **config_overrides,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(Qwen2Config(**options)).to(torch.float32).eval()


@cache
def tiny_model(seed: int = 0, **config_overrides: Any) -> Qwen2ForCausalLM:
    """The cached model of ``make_tiny_model``: shared by all tests, so read it and never change it."""
    return make_tiny_model(seed, **config_overrides)


def save_tiny(folder: Path, seed: int = 0, **config_overrides: Any) -> Path:
    """Save the tiny tokenizer and model into the folder, as ``from_pretrained`` reads them."""
    tiny_model(seed, **config_overrides).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_items(questions: Iterable[str]) -> Iterator[tuple[Problem, Prompt]]:
    """Problems 'p0', 'p1' ... with these questions, each with a plain prompt of the question's own bytes."""
    for number, question in enumerate(questions):
        token_ids = tuple(tiny_tokenizer()(question, add_special_tokens=False)["input_ids"])
        yield Problem(f"p{number}", question, "4", index=number), Prompt((), "plain", question, token_ids)
