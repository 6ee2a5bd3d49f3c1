r"""What the text of a completion looks like: its template parts, and how much it repeats itself.

Used by the format reward, by filters and by evaluation. Everything here is linear in the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq

from distill.verifiers.reading.boxes import complete_boxes

MAX_PHRASE_WORDS = 10
MIN_REPEATS = 3


@dataclass(frozen=True, slots=True)
class TemplateParts:
    r"""Which parts of the template ``<think>...</think> ... <answer>...\boxed{...}...</answer>`` a completion has."""

    think: bool
    """Thinking is opened once, by the completion or by its prompt, and closed once after that."""
    answer: bool
    """One <answer> and one </answer> after it."""
    boxed: bool
    r"""A complete \boxed{} stands anywhere; an unterminated one is none."""
    well_formed: bool
    """All of it, in order: the thinking closes before the answer opens, and a box stands inside the answer."""


def template_parts(text: str, *, think_opened: bool = False) -> TemplateParts:
    r"""The template parts of a completion: AdvDistill's format reward is ``float(parts.well_formed)``.

    Each tag has to stand exactly once; text around the parts is allowed.

    Args:
        think_opened: the prompt already ended inside an open <think>, which then counts as the
            completion's own, so that another one would be the second.

    >>> template_parts(r"<think>7-4=3</think> <answer>\boxed{3}</answer>").well_formed
    True
    >>> template_parts(r"7-4=3</think><answer>\boxed{3}</answer>", think_opened=True).well_formed
    True
    >>> template_parts(r"<think>\boxed{3}</think><answer>3</answer>")
    TemplateParts(think=True, answer=True, boxed=True, well_formed=False)
    """
    think = not _fault_of_tags(text, "think", opened=think_opened)
    answer = not _fault_of_tags(text, "answer")
    boxed = ("boxed" in text or "fbox" in text) and bool(complete_boxes(text))
    return TemplateParts(think, answer, boxed, not first_fault(text, think_opened=think_opened))


def first_fault(text: str, *, think_opened: bool = False) -> str:
    r"""What is first wrong with the template of a completion; '' when it is well formed.

    In this order, for the tags ``think`` and then ``answer``: 'think_missing' (not opened), 'think_repeated'
    (a tag stands more than once), 'think_unclosed', 'think_reversed' (closed before it is opened), 'answer_...';
    then 'answer_before_think_end', 'boxed_missing' and 'boxed_outside_answer'.

    >>> first_fault(r"<think>3</think><answer>\boxed{3}</answer>"), first_fault("<think>3"), first_fault("</think>3")
    ('', 'think_unclosed', 'think_missing')
    >>> first_fault(r"<think>\boxed{3}</think><answer>3</answer>")
    'boxed_outside_answer'
    """
    fault = _fault_of_tags(text, "think", opened=think_opened) or _fault_of_tags(text, "answer")
    if fault:
        return fault
    answer_start, answer_end = text.find("<answer>"), text.find("</answer>")
    if text.find("</think>") > answer_start:
        return "answer_before_think_end"
    if complete_boxes(text[answer_start:answer_end]):
        return ""
    return "boxed_outside_answer" if complete_boxes(text) else "boxed_missing"


def _fault_of_tags(text: str, tag: str, *, opened: bool = False) -> str:
    """What is wrong with one pair of tags; ``opened`` when the prompt has already opened it."""
    opens, closes = text.count(f"<{tag}>") + opened, text.count(f"</{tag}>")
    if opens == 0:
        return f"{tag}_missing"
    if opens > 1 or closes > 1:
        return f"{tag}_repeated"
    if closes == 0:
        return f"{tag}_unclosed"
    is_reversed = not opened and text.find(f"<{tag}>") > text.find(f"</{tag}>")
    return f"{tag}_reversed" if is_reversed else ""


def repeated_phrases(text: str) -> int:
    """How many repetitions of phrases stand directly after the phrase they repeat: the degeneracy of a text.

    For each maximal run of one phrase of n words (n = 1 to 10, the shortest period first) that
    stands k >= 3 times in a row, k - 1 is added; a word counted in one run is not counted in another.

    >>> repeated_phrases("no no no no"), repeated_phrases("no no"), repeated_phrases("a b a b a b a")
    (3, 0, 2)
    >>> repeated_phrases("so so so it is so so so it is so so so it is")  # 'so' three times, each run 3 - 1
    6
    """
    words = _numbered(text.split())
    is_counted = [False] * len(words)
    repeats = 0
    for period in range(1, MAX_PHRASE_WORDS + 1):
        # A run needs so many words that equal the one a period before; most texts have fewer, and this is found fast.
        if sum(map(eq, words, words[period:])) < (MIN_REPEATS - 1) * period:
            continue
        start = 0
        for position in range(period, len(words) + 1):
            earlier = position - period
            in_reach = position < len(words) and not (is_counted[position] or is_counted[earlier])
            if in_reach and words[position] == words[earlier]:
                continue
            times = (position - start) // period
            if times >= MIN_REPEATS:
                repeats += times - 1
                is_counted[start:position] = [True] * (position - start)
            start = earlier + 1
    return repeats


def ngram_repetition(text: str, n: int = 3) -> float:
    """Share of a text's n-word phrases that stood in it before: 1 - unique / total, 0.0 with fewer than n words.

    >>> ngram_repetition("a b c a b c a b c")  # 7 phrases, of which abc, bca and cab are unique: 1 - 3/7
    0.5714285714285714
    >>> ngram_repetition("one two")
    0.0
    """
    words = _numbered(text.split())
    total = len(words) - n + 1
    if total < 1:
        return 0.0
    return 1 - len({tuple(words[start : start + n]) for start in range(total)}) / total


def _numbered(words: Sequence[str]) -> list[int]:
    """Each word as a number, so that long words compare as fast as short ones."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(word, len(numbers)) for word in words]
