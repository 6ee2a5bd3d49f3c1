"""Rows of a dataset -> the token ids that the student reads and learns.

Where the student's tokenizer is the teacher's (same fingerprint), completions are taken as they were
sampled: text tokenised again is not the sampled sequence. Any other student gets the text in its own
tokens. A prompt is taken as it is when the student would render the same text.

Every completion ends with an end token unless it was cut off (finish_reason 'length'): also a recorded
one that a stop text ended, or of which nobody knows how it ended ('unknown'), because a student that
rarely sees an end token does not learn to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.cards import CardPrompt, card_names, load_card
from distill.config import PromptConfig
from distill.errors import DistillError
from distill.models import tokenizer_fingerprint
from distill.prompts import build_prompt, check_template, read_chat_template
from distill.records import Problem, Prompt, PromptFormat
from distill.train.passages import Passage, ending_ids

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from transformers import PreTrainedTokenizerBase

    TokenIds = npt.NDArray[np.int32]

THINK = "<think>"


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """One group in the student's tokens."""

    prompt_ids: TokenIds
    completions: list[Passage]
    again: bool
    """True when prompt or completions were encoded again instead of taken as they are."""


class StudentEncoder:
    """Knows what does not change from row to row: the tokenizer with its end tokens, the recipe's prompt."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: PromptConfig) -> None:
        if prompt.template is not None:
            check_template(prompt.template)
        self._chat_template = read_chat_template(prompt.chat_template)
        if tokenizer.eos_token_id is None:
            raise DistillError(
                f"tokenizer '{tokenizer.name_or_path}' has no end token, so the student could not learn to stop",
                hint="set eos_token in its tokenizer_config.json",
            )
        self.tokenizer = tokenizer
        self._prompt = prompt
        self._fingerprint = tokenizer_fingerprint(tokenizer)
        self._end_ids = ending_ids(tokenizer)
        self._end_id = int(tokenizer.eos_token_id)
        self._cards: dict[str, CardPrompt] = {}

    def encode(self, row: dict[str, Any], num_completions: int) -> EncodedGroup:
        """The prompt and the first ``num_completions`` completions of a row, the latter with their end tokens.

        Raises:
            DistillError: the prompt has a form that cannot be rendered again, or the student's tokenizer
                has no chat template.
        """
        import numpy as np

        sampled = [ids for ids in row["completion_ids"][:num_completions] if len(ids)]
        same_tokens = row["tokenizer_fingerprint"] == self._fingerprint
        prompt = self._render(row)
        same_prompt = same_tokens and prompt.text == row["prompt_text"] and len(row["prompt_ids"]) > 0
        prompt_ids = row["prompt_ids"] if same_prompt else np.array(prompt.token_ids, dtype=np.int32)
        texts, finish_reasons = row["completions"][:num_completions], row["finish_reasons"][:num_completions]
        if same_tokens and len(sampled) == num_completions and prompt.opens_think == row["prompt_opens_think"]:
            as_sampled = map(self._as_sampled, texts, sampled, finish_reasons)
            return EncodedGroup(prompt_ids, list(as_sampled), again=not same_prompt)
        moved = [_move_think(text, row["prompt_opens_think"], prompt.opens_think) for text in texts]
        places = [len(text) - len(new) for text, new in zip(texts, moved, strict=True)]  # they end alike
        return EncodedGroup(
            prompt_ids, self.passages(moved, places, [r != "length" for r in finish_reasons]), again=True
        )

    def passages(self, texts: Sequence[str], places: Sequence[int], ends: Sequence[bool]) -> list[Passage]:
        """Texts that begin at these places of the teacher's, in the student's tokens, with an end token where asked."""
        import numpy as np

        return [
            Passage(np.array([*ids, *([self._end_id] if end else [])], dtype=np.int32), text, place, end, False)
            for ids, text, place, end in zip(self.token_ids(texts), texts, places, ends, strict=True)
        ]

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The student's tokens of texts, without any that a tokenizer adds."""
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _as_sampled(self, text: str, ids: TokenIds, finish_reason: str) -> Passage:
        """Ids as sampled, with an end token where they lack one that they should have."""
        import numpy as np

        ends = int(ids[-1]) in self._end_ids
        if finish_reason != "length" and not ends:
            ids, ends = np.append(ids, np.int32(self._end_id)), True
        return Passage(ids, text, 0, ends, as_sampled=True)

    def _render(self, row: dict[str, Any]) -> Prompt:
        """The prompt as this student reads it.

        The stored messages, unless the recipe asks for another format or template: then the question in
        the recipe's template or, when it names none, in the one of the data card that evaluation uses.
        """
        prompt_format = self._prompt.format or row["prompt_format"]
        if self._prompt.template is None and prompt_format == row["prompt_format"]:
            problem, template = Problem(row["id"], _stored_question(row), ""), "{question}"
        else:
            problem = Problem(row["id"], row["question"], "", options=tuple(row["options"]))
            template = self._prompt.template or self._card_template(row["source"], prompt_format)
        system = self._prompt.system
        if system is None:
            system = "\n\n".join(message["content"] for message in row["prompt"] if message["role"] == "system")
        prompt = PromptConfig(format=prompt_format, system=system, template=template, chat_template=self._chat_template)
        return build_prompt(problem, prompt, self.tokenizer)

    def _card_template(self, source: str, prompt_format: PromptFormat) -> str:
        """The template of the card that a row comes from; the usual one for a source without a card."""
        if source not in self._cards:
            self._cards[source] = load_card(source).prompt if source in card_names() else CardPrompt()
        card = self._cards[source]
        return card.plain_template if prompt_format == "plain" else card.template


def _stored_question(row: dict[str, Any]) -> str:
    """The text of a row's user message."""
    users = [message["content"] for message in row["prompt"] if message["role"] != "system"]
    if len(users) != 1:
        raise DistillError(
            f"group '{row['id']}' has a prompt of roles '{', '.join(message['role'] for message in row['prompt'])}', "
            "expected one user message, at most after a system message",
            hint="set prompt.template to build the prompt from the question",
        )
    return str(users[0])


def _move_think(text: str, was_opened: bool, opened: bool) -> str:
    r"""A completion's text for a prompt that opens <think>, or does not, unlike the one it was written for.

    >>> _move_think("2 + 2 is 4</think>4", was_opened=True, opened=False)
    '<think>\n2 + 2 is 4</think>4'
    >>> _move_think("<think>\n2 + 2 is 4</think>4", was_opened=False, opened=True)
    '2 + 2 is 4</think>4'
    """
    if was_opened and not opened:
        return f"{THINK}\n{text}"
    if opened and not was_opened:
        return text.removeprefix(THINK).removeprefix("\n")
    return text
