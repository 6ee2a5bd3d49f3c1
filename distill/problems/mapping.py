"""One row becomes one problem: which column holds what, and where the gold answer stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill.cards import Card, CardColumns
from distill.problems.cells import first_filled, text_of
from distill.problems.options import NO_OPTIONS, Options, gold_letter, options_at_end, read_options
from distill.problems.rejection import BadRow, RowRejectedError
from distill.records import Problem
from distill.schema import metadata_json
from distill.verifiers.reading.boxes import complete_boxes

Names = tuple[str, ...]
MAX_LAYOUTS = 64
"""How many different sets of columns are remembered; rows of one source seldom have more than a few."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that rows with certain keys have, of all that are looked for: most rows have few of many."""

    id: Names
    context: Names
    question: Names
    answer: Names
    options: Names
    solution: Names
    metadata: tuple[tuple[str, Names], ...]


@dataclass(frozen=True, slots=True)
class RowMapping:
    """How the rows of one split are read."""

    card: Card
    split: str
    columns: CardColumns
    answer_after: str | None = None
    marker_needed: bool = False
    """True when the user named the marker: an answer without it is then rejected, not taken whole."""
    verifier: str | None = None
    """Overrules the card's verifier."""
    _layouts: dict[Names, Layout] = field(default_factory=dict, init=False, repr=False, compare=False)

    def default_id(self, index: int) -> str:
        """The id of a row that brings none.

        >>> from distill.cards import load_card
        >>> RowMapping(load_card("gsm8k"), "test", CardColumns()).default_id(7)
        'gsm8k/test/00007'
        """
        return f"{self.card.name}/{self.split}/{index:05d}"

    def row_id(self, row: Any, index: int) -> str:
        """The row's own id, else one from its place."""
        _, value = first_filled(row, self.columns.id) if isinstance(row, dict) else ("", None)
        return text_of(value) or self.default_id(index)

    def problem(self, row: Any, index: int) -> Problem:
        """The problem that a row states.

        Args:
            row: a dict, or what stands in the place of one.
            index: the row's place, counted from 0.

        Raises:
            RowRejectedError: it states none.
        """
        if not isinstance(row, dict):
            raise RowRejectedError(row.reason if isinstance(row, BadRow) else "not_an_object")
        layout = self._layout(row)
        question, options = self._question(row, layout)
        kind = self._verifier_kind(options)
        solution = text_of(first_filled(row, layout.solution)[1]) if layout.solution else None
        problem = Problem(
            id=text_of(first_filled(row, layout.id)[1]) or self.default_id(index),
            question=question,
            answer=self._answer(row, layout, options, kind) if self.card.gold else "",
            source=self.card.name,
            verifier=kind,
            index=index,
            options=options.texts,
            solution=solution or "",
            metadata=self._metadata(row, layout) if layout.metadata else "{}",
        )
        _check_unicode(problem)
        return problem

    def _layout(self, row: Mapping[str, Any]) -> Layout:
        keys = tuple(row)
        layout = self._layouts.get(keys)
        if layout is None:
            if len(self._layouts) == MAX_LAYOUTS:
                self._layouts.clear()
            columns = {name: _present(names, row) for name, names in self.columns}
            metadata = [(key, _present(names, row)) for key, names in self.card.metadata.items()]
            layout = Layout(**columns, metadata=tuple((key, names) for key, names in metadata if names))
            self._layouts[keys] = layout
        return layout

    def _question(self, row: Mapping[str, Any], layout: Layout) -> tuple[str, Options]:
        question = _needed("question", *first_filled(row, layout.question))
        for marker in self.card.question_before:
            if marker in question:
                question = question.rpartition(marker)[0].strip()
                break
        options = read_options(first_filled(row, layout.options)[1]) if layout.options else NO_OPTIONS
        if self.card.options_in_question and not options.texts:
            rest, options = options_at_end(question)
            if self.card.options_in_question == "cut" and options.texts:
                question = rest
        context = text_of(first_filled(row, layout.context)[1]) if layout.context else None
        return (f"{context}\n\n{question}" if context else question), options

    def _answer(self, row: Mapping[str, Any], layout: Layout, options: Options, kind: str) -> str:
        name, value = first_filled(row, layout.answer)
        if value is None and name and self.card.null_answer is not None:
            return self.card.null_answer
        if value is not None and kind == "choice" and options.texts:
            return gold_letter(value, options)
        text = _needed("answer", name, value)
        if self.answer_after and self.answer_after in text:
            gold = text.rpartition(self.answer_after)[2].strip()
        elif self.marker_needed:
            raise RowRejectedError("no_marker")
        else:
            boxes = complete_boxes(text)
            if not boxes and name in layout.solution:
                raise RowRejectedError("no_answer_in_solution")
            gold = boxes[-1].content.strip() if boxes else text
        if not gold:
            raise RowRejectedError("empty_answer")
        if self.card.answers and gold not in self.card.answers:
            raise RowRejectedError("unknown_answer")
        return self.card.answers.get(gold, gold)

    def _metadata(self, row: Mapping[str, Any], layout: Layout) -> str:
        found = ((key, first_filled(row, names)[1]) for key, names in layout.metadata)
        values = {
            key: value if isinstance(value, str | int | float | bool) else str(value)
            for key, value in found
            if value is not None
        }
        if self.card.descriptions and "description" not in values:
            values |= _known_description(self.card, values.get(self.card.by))
        return metadata_json(values)

    def _verifier_kind(self, options: Options) -> str:
        if self.verifier:
            return self.verifier
        without = self.card.verifier.without_options
        return without if without and not options.texts else self.card.verifier.kind


def _present(names: Sequence[str], row: Mapping[str, Any]) -> Names:
    """Those of the columns that a row with these keys may have; a nested one when its outermost key is there."""
    return tuple(name for name in names if name in row or name.partition(".")[0] in row)


def _needed(what: str, name: str, value: Any) -> str:
    """The text of what ``first_filled`` returned."""
    if value is None:
        raise RowRejectedError(f"empty_{what}" if name else f"missing_{what}")
    text = text_of(value)
    if text is None:
        raise RowRejectedError(f"{what}_not_text")
    return text


def _known_description(card: Card, name: Any) -> dict[str, Any]:
    description = card.descriptions.get(str(name))
    return {"description": description} if description else {}


def _check_unicode(problem: Problem) -> None:
    """JSON may hold half a surrogate pair, which no file can store."""
    try:
        texts = (problem.id, problem.question, problem.answer, problem.solution, problem.metadata, *problem.options)
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise RowRejectedError("not_unicode") from None
