"""What a replay server's model says, and how it cuts texts into tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

SENTENCE = "Let us look at it once more and compute the next step with care. "


class Tokens(Protocol):
    """How the served model cuts texts into tokens."""

    end_id: int

    def encode(self, text: str) -> list[int]: ...

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str: ...


class ChunkTokens:
    """One token for every three bytes of UTF-8, about as long as a real tokenizer's, and an end token."""

    end_id = 0

    def encode(self, text: str) -> list[int]:
        data = text.encode("utf-8", "replace")
        # a leading 1 keeps zero bytes and the chunk's length
        return [int.from_bytes(b"\1" + data[start : start + 3], "big") for start in range(0, len(data), 3)]

    def count(self, text: str) -> int:
        return -(-len(text.encode("utf-8", "replace")) // 3)

    def decode(self, token_ids: Sequence[int]) -> str:
        chunks = (token_id.to_bytes(4, "big").lstrip(b"\0")[1:] for token_id in token_ids if token_id)
        return b"".join(chunks).decode("utf-8", "replace")


class ModelTokens:
    """Those of a transformers tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.end_id: int = tokenizer.eos_token_id

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def count(self, text: str) -> int:
        return len(self.encode(text))

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False))


@dataclass(frozen=True, slots=True)
class Said:
    """What the served model says: one completion."""

    text: str
    reasoning: str | None = None
    finish_reason: str = "stop"


Completer = Callable[[str, int], Said]
"""(prompt, seed) -> completion."""


def written(prompt: str, seed: int) -> Said:
    """A completion of about 2 kB that ends in a boxed number."""
    number = digest(prompt, seed)
    return Said(SENTENCE * (20 + number % 20) + f"The answer is \\boxed{{{number % 1000}}}.")


def recorded(rows: Iterable[Mapping[str, Any]]) -> Completer:
    """Completions from rows {question, completions}: those of the question that the prompt contains.

    A prompt without any of the questions gets those of some row.
    """
    texts = {str(row["question"]): [str(text) for text in row["completions"]] for row in rows}
    questions = sorted(texts, key=len, reverse=True)
    found: dict[str, str] = {}

    def complete(prompt: str, seed: int) -> Said:
        if prompt not in found:
            inside = (question for question in questions if question in prompt)
            found[prompt] = next(inside, questions[digest(prompt, 0) % len(questions)])
        said = texts[found[prompt]]
        return Said(said[seed % len(said)])

    return complete


def told(chat: bool, token_ids: Sequence[int], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a server tells of sampled tokens: log-probabilities that are made up, but the same for the same token."""
    top_k = asked.get("top_logprobs", 0) if chat else asked.get("logprobs", 0)
    if top_k:
        return _told_largest(chat, token_ids, top_k, by_id=bool(asked.get("return_tokens_as_token_ids")))
    made_up = [(f"token_id:{token_id}", -0.25 - token_id % 8 / 8) for token_id in token_ids]
    if chat:
        return {"content": [{"token": token, "logprob": value, "top_logprobs": []} for token, value in made_up]}
    return {"tokens": [token for token, _ in made_up], "token_logprobs": [value for _, value in made_up]}


def _told_largest(chat: bool, token_ids: Sequence[int], top_k: int, *, by_id: bool) -> dict[str, Any]:
    """Every token's distribution is 1/2, 1/4, 1/8 ..., and the token itself the third, sixth, ninth or twelfth word.

    One outside of the largest stands beside them in a mapping, and in the place of the last in a list. The first two
    words have the same text, so that without ids one of them is lost.
    """
    content, mappings = [], []
    for place in range(len(token_ids)):
        sampled = 3 * (place % 4) + 2
        ranks = [sampled, *(rank for rank in range(top_k) if rank != sampled)]
        named = [(f"token_id:{rank}" if by_id else f"word {max(1, rank)}", -(rank + 1) * math.log(2)) for rank in ranks]
        content.append([{"token": name, "logprob": value} for name, value in named[:top_k]])
        mappings.append({"token": named[0][0], "logprob": named[0][1], "mapping": dict(named)})
    if chat:
        pairs = zip(mappings, content, strict=True)
        return {"content": [{**token, "mapping": None, "top_logprobs": listed} for token, listed in pairs]}
    columns = {"tokens": "token", "token_logprobs": "logprob", "top_logprobs": "mapping"}
    return {name: [each[key] for each in mappings] for name, key in columns.items()}


def overflow(limit: int, num_tokens: int, wanted: int) -> str:
    """What vLLM says of a prompt that is too long, alone or with the completion that is wanted."""
    if num_tokens > limit:
        return (
            f"This model's maximum context length is {limit} tokens. However, your prompt contains {num_tokens} input"
            " tokens, which exceeds this limit even without any output tokens."
        )
    return (
        f"This model's maximum context length is {limit} tokens. However, you requested {num_tokens + wanted} tokens"
        f" ({num_tokens} in the messages, {wanted} in the completion)."
    )


def digest(text: str, seed: int) -> int:
    return int.from_bytes(blake2b(f"{seed} {text}".encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big")
