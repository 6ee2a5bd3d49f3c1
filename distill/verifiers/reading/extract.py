r"""Find the part of a completion that may state its answer.

    loop        whether the text ends in the same phrase over and over, which is said of the region
    thinking    what follows the last </think>; an open block states nothing, unless a complete
                <answer> follows the last <think>
    cut         at the first chat-template token, and at the first problem the model wrote itself
    cap         the last 50,000 characters of the rest
    region      inside the last <answer>...</answer> if there is one, else all of it

Every step is linear in the length of the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from distill.records import FinishReason
from distill.verifiers.reading.degenerate import ends_in_loop

MAX_REGION_CHARACTERS = 50_000

THINK, END_THINK, ANSWER, END_ANSWER = "<think>", "</think>", "<answer>", "</answer>"

# '<|im_end|>' and its kind, the full-width ones of DeepSeek, and those that are written otherwise.
TEMPLATE_TOKEN = re.compile(
    r"<\|[A-Za-z_0-9]{1,40}\|>|<｜[^<>｜\n]{1,40}｜>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>|<eos>"
)
LEADING_TOKENS = re.compile(rf"\A(?:\s*(?:{TEMPLATE_TOKEN.pattern})(?:assistant(?=\s))?)+")
OWN_PROBLEM = re.compile(r"^[ \t]*\**(?:Question|Problem|Q)(?: \d{1,4})?\**:", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Region:
    """Where to look for the answer, or why there is nowhere to look."""

    text: str = ""
    tagged: bool = False
    """True inside <answer>...</answer>: there the whole text is meant as the answer."""
    cut: bool = False
    """True when text after a template token or a self-written problem was dropped."""
    truncated: bool = False
    """True when the completion reached its length limit at the end of this very text."""
    degenerate: bool = False
    """True when the completion's own text ends in a loop: nothing in it is read loosely."""
    no_answer: str = ""
    """The reason code when there is no region: 'degenerate', 'truncated', 'think_unclosed' or 'empty'."""


def answer_region(text: str, *, finish_reason: FinishReason = "stop", think_opened: bool = False) -> Region:
    """The region of a completion, by the rules at the top of this file.

    Args:
        finish_reason: 'length' makes an open thinking block 'truncated' instead of 'think_unclosed'.
        think_opened: the prompt ended inside an open <think>.

    >>> answer_region("<think>maybe 17</think> It is <answer>42</answer>.").text
    '42'
    >>> answer_region("<think>maybe 17", finish_reason="length").no_answer
    'truncated'
    >>> answer_region("<think>" + "Hm. " * 99).no_answer, answer_region("17! " * 99).degenerate
    ('degenerate', True)
    """
    reached_limit = finish_reason == "length"
    rest, is_open = _after_thinking(text, think_opened)
    if is_open:
        inside = _last_answer(text[max(text.rfind(THINK), 0) :])
        if inside is None:
            is_loop = ends_in_loop(text)
            return Region(no_answer="degenerate" if is_loop else "truncated" if reached_limit else "think_unclosed")
        return _inside_answer(inside, cut=False)
    rest = LEADING_TOKENS.sub("", rest)
    end = _end_of_own_text(rest)
    is_cut = end < len(rest)
    rest = rest[max(0, end - MAX_REGION_CHARACTERS) : end]
    inside = _last_answer(rest)
    if inside is not None:
        return _inside_answer(inside, cut=is_cut)
    if not rest.strip():
        return Region(no_answer="truncated" if reached_limit else "empty", cut=is_cut)
    return Region(rest, cut=is_cut, truncated=reached_limit and not is_cut, degenerate=ends_in_loop(rest))


def _after_thinking(text: str, think_opened: bool) -> tuple[str, bool]:
    """What follows the last </think>, and whether a thinking block is still open there."""
    _, end, after = text.rpartition(END_THINK)
    if end:
        return after, THINK in after
    return after, think_opened or THINK in after


def _end_of_own_text(text: str) -> int:
    """Where the first template token or self-written problem begins, else the end of the text."""
    found = TEMPLATE_TOKEN.search(text) if "<" in text or "[" in text else None
    end = found.start() if found else len(text)
    if "Q" not in text and "Problem" not in text:
        return end
    start = 0
    for problem in OWN_PROBLEM.finditer(text, 0, end):
        if text[start : problem.start()].strip():
            return problem.start()
        start = problem.end()  # not at the very start: there it repeats the question that it answers
    return end


def _last_answer(text: str) -> str | None:
    end = text.rfind(END_ANSWER)
    start = text.rfind(ANSWER, 0, end) if end >= 0 else -1
    return text[start + len(ANSWER) : end] if start >= 0 else None


def _inside_answer(inside: str, *, cut: bool) -> Region:
    inside = inside[-MAX_REGION_CHARACTERS:]
    if not inside.strip():
        return Region(no_answer="empty", cut=cut)
    return Region(inside, tagged=True, cut=cut)
