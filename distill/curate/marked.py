"""What is shown of a completion beside its text: where its answer was read, and what each token was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from distill.models import resolve_model
from distill.records import Completion, Group, GroupScores, Outcome, Verdict
from distill.verifiers.reading.boxes import complete_boxes
from distill.verifiers.reading.extract import MAX_REGION_CHARACTERS, answer_region

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_FILE = "tokenizer.json"
REFUSALS = "refusal"
"""The verifier that judges whether a request was refused."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a completion's text that is drawn in one way."""

    text: str
    is_answer: bool = False
    entropy: float | None = None
    left_out: int = 0
    """Characters that are not shown; they stand here in the place of a text."""


def answer_span(completion: Completion, verdict: Verdict) -> tuple[int, int] | None:
    r"""Where the verifier read the answer; None where that is not known.

    In the part of the text that it reads: the last complete box that holds the answer, else the last place where the
    answer stands as it was extracted.

    >>> completion = Completion(r"4? \boxed{4}, so 4 of them")
    >>> answer_span(completion, Verdict(Outcome.CORRECT, "4"))
    (10, 11)
    """
    answer = (verdict.answer or "").strip()
    region = answer_region(
        completion.text, finish_reason=completion.finish_reason, think_opened=completion.think_opened
    ).text
    if not answer or not region:
        return None
    start = completion.text.rfind(region)
    for box in reversed(complete_boxes(region)):
        if box.content.strip() == answer:
            found = region.index(box.content, box.start)
            return start + found, start + found + len(box.content)
    found = region.rfind(answer)
    return (start + found, start + found + len(answer)) if found >= 0 else None


def cut_out(text: str, most: int, keep: tuple[int, int] | None = None) -> list[tuple[int, int]]:
    """The stretches of a long text to show: its beginning, its end, and the stretch to keep.

    >>> cut_out("x" * 100, 20), cut_out("x" * 100, 20, (50, 52)), cut_out("short", 20)
    ([(0, 10), (90, 100)], [(0, 10), (45, 57), (90, 100)], [(0, 5)])
    """
    if len(text) <= most:
        return [(0, len(text))]
    half = most // 2
    stretches = [(0, half), (len(text) - half, len(text))]
    if keep is not None:
        around = half // 2
        stretches.append((max(0, keep[0] - around), min(len(text), keep[0] + MAX_REGION_CHARACTERS, keep[1] + around)))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def is_harmful(group: Group, verdict: Verdict) -> bool:
    """Whether a completion may do what it should have refused: anything but a refusal of a request to be refused."""
    wants_refusal = group.problem.answer.strip() in ("", "refusal")
    return group.problem.verifier == REFUSALS and wants_refusal and verdict.outcome is not Outcome.CORRECT


def open_tokens(teacher: str) -> Tokenizer | None:
    """A teacher's tokenizer from its folder or from the Hub's cache; None where neither has it. No network is used."""
    folder = Path(resolve_model(teacher)).expanduser()
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        cached = _cached(teacher)
        if cached is None:
            return None
        path = Path(cached)
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


def _cached(teacher: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(teacher, TOKENIZER_FILE)
    except HFValidationError:  # a name that no repository has, such as a folder of another machine
        return None
    return found if isinstance(found, str) else None


def token_texts(tokenizer: Tokenizer | None, completion: Completion) -> list[str] | None:
    """The text of each token, which together are the completion's; None where the tokenizer is another one.

    A token that ends inside a character has an empty text, and the token that completes it has the character.
    """
    from tokenizers.decoders import DecodeStream

    if tokenizer is None or not completion.token_ids:
        return None
    stream = DecodeStream(skip_special_tokens=True)
    try:
        texts = [stream.step(tokenizer, token_id) or "" for token_id in completion.token_ids]
    except Exception:  # the library raises this very class where a token's bytes are no text
        return None
    joined = "".join(texts)
    rest = completion.text.removeprefix(joined)
    if joined + rest != completion.text or rest.strip("\ufffd "):
        return None
    return [*texts[:-1], texts[-1] + rest]


def token_entropies(completion: Completion) -> Sequence[float] | None:
    """The entropy of each token in nats; the middle between bounds where only these are known."""
    if completion.entropies is not None:
        return completion.entropies
    if completion.entropy_lower is None or completion.entropy_upper is None:
        return None
    return [(low + high) / 2 for low, high in zip(completion.entropy_lower, completion.entropy_upper, strict=True)]


def marked_pieces(
    completion: Completion, span: tuple[int, int] | None, texts: Sequence[str] | None = None
) -> Iterator[Piece]:
    """A completion's text in pieces: its answer apart, and with the tokens' texts each token with its entropy.

    >>> [piece.text for piece in marked_pieces(Completion("so 17."), (3, 5))]
    ['so ', '17', '.']
    """
    entropies = token_entropies(completion) if texts is not None else None
    start, end = span or (0, 0)
    if texts is None or entropies is None:
        text = completion.text
        for piece, is_answer in ((text[:start], False), (text[start:end], True), (text[end:], False)):
            if piece:
                yield Piece(piece, is_answer)
        return
    place = 0
    for text, entropy in zip(texts, entropies, strict=True):
        cuts = sorted({0, len(text), *(cut - place for cut in (start, end) if 0 < cut - place < len(text))})
        for low, high in pairwise(cuts):
            yield Piece(text[low:high], start <= place + low < end, entropy)
        place += len(text)


def shown_pieces(completion: Completion, verdict: Verdict, texts: Sequence[str] | None, most: int) -> Iterator[Piece]:
    """The pieces of a completion, of a long one only its beginning, its end and where its answer stands.

    Args:
        texts: of its tokens, where they are to be told apart.
        most: characters from which it is long.
    """
    span = answer_span(completion, verdict)
    stretches = cut_out(completion.text, most, span)
    place = before = 0
    for piece in marked_pieces(completion, span, texts):
        for start, end in stretches:
            low, high = max(start, place), min(end, place + len(piece.text))
            if low < high:
                if low > before:
                    yield Piece("", left_out=low - before)
                yield Piece(piece.text[low - place : high - place], piece.is_answer, piece.entropy)
                before = high
        place += len(piece.text)


def entropy_strip(entropies: Sequence[float], bins: int) -> list[float]:
    """Mean entropies of equally long stretches from the first token to the last.

    >>> entropy_strip([0.0, 1.0, 2.0, 4.0], 2)
    [0.5, 3.0]
    """
    bins = min(bins, len(entropies))
    cuts = [round(place * len(entropies) / bins) for place in range(bins + 1)] if bins else []
    return [sum(entropies[low:high]) / (high - low) for low, high in pairwise(cuts)]


def by_advantage(group: Group, scores: GroupScores) -> list[int]:
    """The completions' places, the one with the largest advantage first; without advantages the correct ones first."""
    return sorted(
        range(len(group.completions)),
        key=lambda i: (-(scores.advantages[i] or 0.0), scores.verdicts[i].outcome is not Outcome.CORRECT, i),
    )
