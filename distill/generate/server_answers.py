"""Completions out of a server's answer: text, tokens, log-probabilities and why each ended.

A chat server may keep a model's reasoning apart from its content. It is put back to where the model wrote it:
``<think>``, the reasoning, ``</think>``, the content, with nothing between that the server did not send. Where no
content follows it is not known whether the model closed its reasoning, and no ``</think>`` is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import TYPE_CHECKING, Any

from distill.generate.recorded_fields import FINISH_REASONS
from distill.generate.server_failures import TroubleError
from distill.generate.topk_bounds import Told, bounds_of_tokens, told_of_token
from distill.models import end_token_ids
from distill.records import Completion

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What was broken off by the server is no completion; it is asked for again.
BROKEN_OFF = {"abort", "aborted", "cancelled", "error"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One completion as the server tells of it."""

    text: str
    finish_reason: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] | None = None
    largest: tuple[Told, ...] | None = None
    """What is told of every token's distribution, parallel to ``token_ids``; None where it was not asked for."""
    num_tokens: int = -1
    """-1 where the server does not tell."""
    end_id: int | None = None
    """The token that ended it, where the server names one."""
    seed: int | None = None
    """Of the request that brought it."""
    model: str = ""


def read_choices(answer: Mapping[str, Any], top_k: int = 0) -> list[Choice]:
    """The choices of an answer in the order of their index, those left out that were broken off.

    Args:
        top_k: how many of every token's largest log-probabilities were asked for.

    Raises:
        TroubleError: the answer is not of the protocol's form.
    """
    try:
        ordered = sorted(answer["choices"], key=lambda choice: choice.get("index") or 0)
        read = [_read_choice(choice, top_k) for choice in ordered]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TroubleError(f"an answer without completions: {type(error).__name__} {error}") from None
    whole = [choice for choice in read if choice.finish_reason not in BROKEN_OFF]
    return _with_lengths(whole, (answer.get("usage") or {}).get("completion_tokens"))


def opened_by_template(completions: Sequence[Completion]) -> tuple[Completion, ...]:
    """A group's completions with the ``<think>`` that the server's chat template wrote for them.

    One that closes a reasoning it never opened shows that the template opens it, and then it does so for all.

    >>> [c.text for c in opened_by_template([Completion("1+1</think>2"), Completion("still thinking")])]
    ['<think>1+1</think>2', '<think>still thinking']
    >>> [c.text for c in opened_by_template([Completion("<think>1+1</think>2"), Completion("2")])]
    ['<think>1+1</think>2', '2']
    """
    if not any(_closes_unopened(completion.text) for completion in completions):
        return tuple(completions)
    return tuple(
        completion
        if completion.text.lstrip().startswith("<think>")
        else replace(completion, text="<think>" + completion.text)
        for completion in completions
    )


class CompletionReader:
    """Makes completions of choices, with the tokens of the teacher's tokenizer where one is named."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None, vocabulary: int = 0) -> None:
        """Take the tokenizer, and how many words the teacher chooses from where entropies are to be enclosed."""
        self._tokenizer, self._vocabulary = tokenizer, vocabulary
        self._end_ids = end_token_ids(tokenizer) if tokenizer is not None else frozenset[int]()

    def read(self, choice: Choice, *, think_opened: bool) -> Completion:
        """The completion that a choice stands for.

        Raises:
            DistillError: what is told of its tokens cannot be log-probabilities of one distribution.
        """
        bounds = bounds_of_tokens(choice.largest, self._vocabulary) if choice.largest else (None, None)
        completion = Completion(
            text=choice.text,
            token_ids=choice.token_ids,
            num_tokens=choice.num_tokens,
            logprobs=choice.logprobs,
            entropy_lower=bounds[0],
            entropy_upper=bounds[1],
            finish_reason=FINISH_REASONS.get(choice.finish_reason, "unknown"),
            seed=choice.seed,
            model=choice.model,
            think_opened=think_opened,
        )
        return completion if self._tokenizer is None else self._with_tokens(completion, choice.end_id, self._tokenizer)

    def _with_tokens(
        self, completion: Completion, end_id: int | None, tokenizer: PreTrainedTokenizerBase
    ) -> Completion:
        """Ids with the end token of a completion that stopped, and the text that these ids stand for.

        A server's own text may lack special tokens, which ``<think>`` is to some tokenizers. Where it gives no ids the
        text is encoded, which need not give the ids that were sampled: such a completion has no log-probabilities and
        no bounds of entropies.
        """
        ids, told = completion.token_ids, True
        if not ids:
            ids = tuple(tokenizer(completion.text, add_special_tokens=False, verbose=False)["input_ids"])
            told = False
        stopped = completion.finish_reason == "stop"
        ended = stopped and bool(ids) and bool(completion.token_ids) and (ids[-1] in self._end_ids or ids[-1] == end_id)
        text_ids = ids[:-1] if ended else ids
        if stopped and not ended and tokenizer.eos_token_id is not None:  # the server keeps the end token to itself
            ids, told = (*ids, tokenizer.eos_token_id), False
        text = completion.text
        if completion.token_ids:
            text = str(tokenizer.decode(list(text_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
        completion = replace(completion, text=text, token_ids=ids, num_tokens=len(ids))
        return completion if told else replace(completion, logprobs=None, entropy_lower=None, entropy_upper=None)


def _read_choice(choice: Mapping[str, Any], top_k: int) -> Choice:
    message = choice.get("message")
    logprobs = _logprobs(choice.get("logprobs"))
    ids = tuple(map(index, choice.get("token_ids") or ()))
    largest = _largest(choice.get("logprobs"), logprobs, top_k) if top_k else None
    named = choice.get("stop_reason")
    return Choice(
        text=_text(choice["text"] if message is None else _joined(message)),
        finish_reason=str(choice.get("finish_reason")),
        token_ids=ids,
        logprobs=logprobs if ids and logprobs is not None and len(logprobs) == len(ids) else None,
        largest=largest if ids and largest is not None and len(largest) == len(ids) else None,
        num_tokens=len(ids) or (len(logprobs) if logprobs else -1),
        end_id=named if isinstance(named, int) else None,
    )


def _joined(message: Mapping[str, Any]) -> str:
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    content = message.get("content") or ""
    if not reasoning:
        return str(content)
    return f"<think>{reasoning}</think>{content}" if content else f"<think>{reasoning}"


def _text(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a completion is a {type(text).__name__}, expected text")
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair is text for no file


def _logprobs(told: Any) -> tuple[float, ...] | None:
    """One number per token from either interface's form; None where one is missing."""
    if not told:
        return None
    values = told.get("token_logprobs")
    if values is None:
        values = [token["logprob"] for token in told.get("content") or ()]
    if not values or None in values:
        return None
    numbers = tuple(map(float, values))
    return numbers if all(map(math.isfinite, numbers)) else None


def _largest(told: Any, sampled: tuple[float, ...] | None, top_k: int) -> tuple[Told, ...] | None:
    """What either interface's form tells of every token's distribution; None where it tells nothing of one."""
    if sampled is None:
        return None
    listed = told.get("top_logprobs")
    if listed is None:
        listed = [token.get("top_logprobs") for token in told.get("content") or ()]
    if len(listed) != len(sampled) or not all(listed):
        return None
    found = []
    for entries, own in zip(listed, sampled, strict=True):
        by_word = isinstance(entries, dict)
        values = list(entries.values()) if by_word else [entry["logprob"] for entry in entries]
        distinct = not by_word or all(str(word).startswith("token_id:") for word in entries)
        found.append(told_of_token(list(map(float, values)), own, top_k, distinct=distinct))
    return tuple(found)


def _with_lengths(choices: list[Choice], total: Any) -> list[Choice]:
    """The choices with the number of their tokens, as far as it can be known; the total is that of all choices.

    Some servers list no log-probability for end tokens, which the total counts.
    """
    if not isinstance(total, int) or any(choice.token_ids for choice in choices):
        return choices
    if len(choices) == 1:
        return [replace(choices[0], num_tokens=total)]
    stops = [FINISH_REASONS.get(choice.finish_reason) == "stop" for choice in choices]
    if all(choice.num_tokens >= 0 for choice in choices):
        missing = total - sum(choice.num_tokens for choice in choices)
        if missing and missing == sum(stops):
            return [
                replace(choice, num_tokens=choice.num_tokens + stop)
                for choice, stop in zip(choices, stops, strict=True)
            ]
    return choices


def _closes_unopened(text: str) -> bool:
    before, closed, _ = text.partition("</think>")
    return bool(closed) and "<think>" not in before
