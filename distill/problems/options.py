"""The options of a problem in the shapes that data sets have for them, and the letter of the right one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from distill.problems.cells import text_of
from distill.problems.rejection import RowRejectedError
from distill.verifiers.kinds.letters import gold_keys

LABELLED = re.compile(r"\s*\(?([A-Z]|[1-9])[).:]\s*(.*)", re.DOTALL)
OPTION_LINE = re.compile(r"\(([A-Z]|[1-9])\)\s*(.*)")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a problem and what the data call them."""

    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """Parallel to ``texts``: letters, or the digits of some ARC questions."""


NO_OPTIONS = Options()


def read_options(value: Any) -> Options:
    """The options in any shape they come in: texts, labelled texts, ``{text, label}`` lists, letters to texts.

    A text is read as JSON: the cells of a table hold nothing else.

    >>> read_options(["(A)5", "(B)6"])
    Options(texts=('5', '6'), labels=('A', 'B'))
    >>> read_options({"text": ["blood", "DNA"], "label": ["1", "2"]})
    Options(texts=('blood', 'DNA'), labels=('1', '2'))
    >>> read_options('["blood", "DNA"]').texts
    ('blood', 'DNA')
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RowRejectedError("bad_options") from None
    if value is None:
        return NO_OPTIONS
    if isinstance(value, dict):
        if {"text", "label"} <= set(value):
            return _options(value["text"], value["label"])
        return _options(list(value.values()), list(value))
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return _options([item.get("text") for item in value], [item.get("label") for item in value])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RowRejectedError("bad_options")
    parts = [LABELLED.match(item) for item in value]
    labels = [part.group(1) for part in parts if part]
    if len(labels) == len(value) and labels in (_letters(len(value)), _digits(len(value))):
        return _options([part.group(2) for part in parts if part], labels)
    return _options(value, _letters(len(value)))


def _options(texts: Sequence[Any], labels: Sequence[Any]) -> Options:
    shown = [text_of(text) for text in texts]
    named = [text_of(label) for label in labels]
    if None in shown or None in named or len(shown) != len(named) or len(shown) > len(ascii_uppercase):
        raise RowRejectedError("bad_options")
    return Options(tuple(text or "" for text in shown), tuple(label or "" for label in named))


def options_at_end(question: str) -> tuple[str, Options]:
    r"""A question without the lettered lines at its end, and those as options.

    >>> options_at_end("Question: Which?\nOptions:\n(A) this\n(B) that")
    ('Which?', Options(texts=('this', 'that'), labels=('A', 'B')))
    """
    head, marker, tail = question.rpartition("Options:\n")
    lines = [OPTION_LINE.fullmatch(line.strip()) for line in tail.strip().split("\n")]
    labels = [line.group(1) for line in lines if line]
    if not marker or len(labels) != len(lines) or labels not in (_letters(len(lines)), _digits(len(lines))):
        return question, NO_OPTIONS
    texts = [line.group(2) for line in lines if line]
    return head.strip().removeprefix("Question:").strip(), _options(texts, labels)


def gold_letter(value: Any, options: Options) -> str:
    """The letter of the right option, or of all the right ones, however the data name them; whole numbers count from 0.

    >>> gold_letter("(4)", Options(("blood", "lymph", "bile", "DNA"), ("1", "2", "3", "4")))
    'D'
    >>> gold_letter([2], Options(("x", "y", "z"), ("A", "B", "C"))), gold_letter("y", Options(("x", "y"), ("A", "B")))
    ('C', 'B')
    >>> gold_letter([0, 1], Options(("x", "y"), ("A", "B"))), gold_letter("A, B", Options(("x", "y"), ("A", "B")))
    ('AB', 'AB')
    """
    if isinstance(value, list) and value and not any(isinstance(item, list) for item in value):
        return "".join(sorted({gold_letter(item, options) for item in value}))
    if isinstance(value, int) and not isinstance(value, bool):
        place = value
    else:
        text = text_of(value) or ""
        label = text.strip("().: ")
        keys = options.labels if label in options.labels else options.texts
        wanted = label if label in options.labels else text
        several = gold_keys(text, options.texts) if options.labels == tuple(_letters(len(options.texts))) else ()
        if len(several) > 1:
            return "".join(sorted(several))
        if list(keys).count(wanted) != 1:
            raise RowRejectedError("answer_not_an_option")
        place = keys.index(wanted)
    if not 0 <= place < len(options.texts):
        raise RowRejectedError("answer_not_an_option")
    return ascii_uppercase[place]


def _letters(count: int) -> list[str]:
    return list(ascii_uppercase[:count])


def _digits(count: int) -> list[str]:
    return [str(number) for number in range(1, count + 1)]
