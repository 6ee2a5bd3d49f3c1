"""A small language for choosing groups: ``pass_rate < 0.5 and 'length' in finish_reasons``.

    compare    pass_rate < 0.5, 0 < num_correct <= 3, drop_reason == 'no_correct', reward_mean == none
    member     drop_reason in ('no_correct', 'too_hard'), 'timeout' in verdict_reasons, 'sum' in question
    any, all   any(num_tokens > 2000), all(rewards > 0): of the completions of a group
    combine    not, and, or, brackets; a column of true and false stands alone: kept and not inverted

It is written as Python writes it and read by Python's parser into a tree; of the tree only the nodes named here are
known, and nothing is ever run. What is compared with a value that a group lacks is neither true nor false, and a group
is chosen where the whole is true.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.curate.group_columns import Column, find_column, parent_groups
from distill.errors import DistillError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_CHARACTERS = 2_000
MAX_DEPTH = 50
LARGEST = 2**53
"""Beyond it not every whole number is one that a comparison tells from its neighbours."""
WORDS = {"true": True, "false": False, "none": None, "null": None}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
ASSIGNED = re.compile(r"(?<![=!<>:])=(?!=)")
MIRRORED = {"less": "greater", "less_equal": "greater_equal", "greater": "less", "greater_equal": "less_equal"}
EXAMPLE = "for example: --where \"pass_rate < 0.5 and 'length' in finish_reasons\""

Test = Callable[["pa.RecordBatch"], "pa.BooleanArray"]


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on groups."""

    text: str
    sources: tuple[str, ...]
    """The dataset's columns that it looks at."""
    test: Test

    def chosen(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """True for the rows that the condition holds for."""
        import pyarrow.compute as pc

        return pc.fill_null(self.test(batch), fill_value=False)


def read_where(text: str, names: Sequence[str]) -> Where:
    """The condition that a text states on the groups of a dataset with these columns.

    Raises:
        DistillError: it is none, names a column that is not there, or compares what cannot be compared.
    """
    reader = _Reader(text, names)
    test = reader.condition(_parse(text), 0)
    return Where(text, tuple(dict.fromkeys(reader.sources)), test)


def _parse(text: str) -> ast.expr:
    if not text.strip():
        raise DistillError("the condition is empty", hint=EXAMPLE)
    if len(text) > MAX_CHARACTERS:
        raise DistillError(f"the condition has {len(text):,} characters", hint=f"at most {MAX_CHARACTERS:,} are read")
    try:
        with warnings.catch_warnings(action="ignore"):  # of '\d' in a text the parser would say something to the user
            return ast.parse(text.strip().replace("\n", " "), mode="eval").body
    except SyntaxError as error:
        at = f" at character {error.offset}" if error.offset else ""
        hint = "equality is written '=='" if ASSIGNED.search(text) else EXAMPLE
        raise DistillError(f"the condition '{text}' cannot be read{at}: {error.msg}", hint=hint) from None
    except (ValueError, RecursionError, MemoryError):  # NUL, too many brackets
        raise DistillError("the condition cannot be read", hint=EXAMPLE) from None


class _Reader:
    """Turns a tree into a test, and gathers the columns that the test looks at."""

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.text = text
        self.names = names
        self.sources: list[str] = []

    def condition(self, node: ast.expr, depth: int) -> Test:
        """The test that a node states."""
        import pyarrow.compute as pc

        if depth > MAX_DEPTH:
            raise DistillError("the condition is nested too deeply", hint=EXAMPLE)
        if isinstance(node, ast.BoolOp):
            tests = [self.condition(value, depth + 1) for value in node.values]
            return _combined(tests, pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.condition(node.operand, depth + 1)
            return lambda batch: pc.invert(inner(batch))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            pairs = zip(sides, node.ops, sides[1:], strict=False)
            return _combined([self._comparison(*pair) for pair in pairs], pc.and_kleene)
        if isinstance(node, ast.Call):
            return self._of_completions(node)
        if isinstance(node, ast.Name) and node.id not in WORDS:
            column = self._column(node)
            if column.kind == "bool":
                return column.values
            raise self._error(node, f"'{column.name}' alone is no condition: it holds {_holds(column)}")
        raise self._error(node, f"'{self._words(node)}' is no condition")

    def _comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Test:
        import pyarrow.compute as pc

        if isinstance(operator, ast.In | ast.NotIn):
            member = self._membership(left, right)
            return member if isinstance(operator, ast.In) else lambda batch: pc.invert(member(batch))
        if isinstance(operator, ast.Is | ast.IsNot):
            operator = ast.Eq() if isinstance(operator, ast.Is) else ast.NotEq()
        name = COMPARISONS[type(operator)]
        if not self._is_column(left) and self._is_column(right):
            left, right, name = right, left, MIRRORED.get(name, name)
        column = self._column(left)
        if column.kind in ("numbers", "texts", "passages"):
            raise self._error(
                left, f"'{column.name}' has a value for every completion", "write any(…) or all(…) around it"
            )
        if self._is_column(right):
            return self._of_two(column, name, self._column(right), right)
        value = self._constant(right)
        if value is None:
            return _none_test(column, name, self._error(right, "only '==' and '!=' compare with none"))
        self._check_type(column, value, right)
        return lambda batch: _compared(column.values(batch), name, value)

    def _of_two(self, left: Column, name: str, right: Column, node: ast.expr) -> Test:
        import pyarrow as pa
        import pyarrow.compute as pc

        if left.kind != right.kind:
            raise self._error(node, f"'{left.name}' holds {_holds(left)} and '{right.name}' {_holds(right)}")
        if left.kind != "number":
            return lambda batch: getattr(pc, name)(left.values(batch), right.values(batch))
        return lambda batch: getattr(pc, name)(
            left.values(batch).cast(pa.float64()), right.values(batch).cast(pa.float64())
        )

    def _membership(self, left: ast.expr, right: ast.expr) -> Test:
        """A text in a text or in those of the completions, or a column's value among several."""
        import pyarrow.compute as pc

        if isinstance(right, ast.Tuple | ast.List | ast.Set):
            column = self._column(left)
            if column.kind not in ("number", "text"):
                raise self._error(left, f"'{column.name}' holds {_holds(column)}")
            values = [self._constant(element) for element in right.elts]
            for value in values:
                self._check_type(column, value, right)
            tests = [lambda batch, value=value: _compared(column.values(batch), "equal", value) for value in values]
            return _combined(tests, pc.or_kleene) if tests else lambda batch: _everywhere(batch, value=False)
        column, value = self._column(right), self._constant(left)
        if column.kind == "numbers" and isinstance(value, int | float):
            return lambda batch: _of_lists(column.values(batch), lambda flat: _compared(flat, "equal", value), any)
        if not isinstance(value, str) or column.kind not in ("text", "texts", "passages"):
            raise self._error(
                right, f"'{self._words(left)}' cannot be in '{column.name}', which holds {_holds(column)}"
            )
        if column.kind == "text":
            return lambda batch: pc.match_substring(column.values(batch), value)
        if column.kind == "texts":
            return lambda batch: _of_lists(column.values(batch), lambda flat: pc.equal(flat, value), any)
        return lambda batch: _of_lists(column.values(batch), lambda flat: pc.match_substring(flat, value), any)

    def _of_completions(self, node: ast.Call) -> Test:
        """``any(...)`` and ``all(...)`` of one comparison of a column that has a value for each completion."""
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        inner = node.args[0] if len(node.args) == 1 and not node.keywords else None
        if called not in ("any", "all") or not isinstance(inner, ast.Compare) or len(inner.ops) != 1:
            raise self._error(node, f"'{self._words(node)}' is not known", "only any(…) and all(…) of one comparison")
        left, right, name = inner.left, inner.comparators[0], COMPARISONS.get(type(inner.ops[0]), "")
        if not name:
            raise self._error(node, f"'{self._words(node)}' is not known", "a comparison such as any(rewards < 0)")
        if not self._is_column(left):
            left, right, name = right, left, MIRRORED.get(name, name)
        column, value = self._column(left), self._constant(right)
        if column.kind not in ("numbers", "texts", "passages"):
            raise self._error(left, f"'{column.name}' has one value for the whole group", f"leave {called}(…) away")
        self._check_type(column, value, right)
        quantifier = any if called == "any" else all
        return lambda batch: _of_lists(column.values(batch), lambda flat: _compared(flat, name, value), quantifier)

    def _is_column(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id not in WORDS

    def _column(self, node: ast.expr) -> Column:
        if not self._is_column(node):
            raise self._error(node, f"'{self._words(node)}' is no column")
        column = find_column(node.id, self.names)  # type: ignore[attr-defined]
        self.sources += column.sources
        return column

    def _constant(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name) and node.id in WORDS:
            return WORDS[node.id]
        sign = 1
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            sign, node = -1, node.operand
        value = node.value if isinstance(node, ast.Constant) else ...
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST:
            return sign * value
        if sign > 0 and (isinstance(value, str | bool) or value is None):
            return value
        hint = "texts stand in quotes" if isinstance(node, ast.Name) else EXAMPLE
        raise self._error(node, f"'{self._words(node)}' is no number or text to compare with", hint)

    def _check_type(self, column: Column, value: Any, node: ast.expr) -> None:
        wanted = {"number": "number", "numbers": "number", "bool": "bool"}.get(column.kind, "text")
        found = "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
        if wanted != found or value is None:
            raise self._error(
                node, f"'{column.name}' holds {_holds(column)}, and '{self._words(node)}' is none of these"
            )

    def _words(self, node: ast.expr) -> str:
        words = ast.unparse(node)
        return words if len(words) <= 60 else words[:60] + "…"

    def _error(self, node: ast.expr, message: str, hint: str = EXAMPLE) -> DistillError:
        return DistillError(f"in the condition, character {node.col_offset + 1}: {message}", hint=hint)


def _holds(column: Column) -> str:
    each = {"bool": "true or false", "number": "a number", "text": "a text"}
    return each.get(column.kind) or ("numbers" if column.kind == "numbers" else "texts")


def _combined(tests: Sequence[Test], combine: Callable[[Any, Any], Any]) -> Test:
    def test(batch: pa.RecordBatch) -> pa.BooleanArray:
        found = tests[0](batch)
        for other in tests[1:]:
            found = combine(found, other(batch))
        return found

    return test


def _none_test(column: Column, name: str, error: DistillError) -> Test:
    if name not in ("equal", "not_equal"):
        raise error

    def test(batch: pa.RecordBatch) -> pa.BooleanArray:
        values = column.values(batch)
        return values.is_null() if name == "equal" else values.is_valid()

    return test


def _compared(values: pa.Array, name: str, value: Any) -> pa.BooleanArray:
    """A comparison in the column's own precision: 0.1 is what is stored for 0.1."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type):
        return getattr(pc, name)(values, pa.scalar(float(value), values.type))
    if isinstance(value, float):
        return getattr(pc, name)(values.cast(pa.float64()), value)
    return getattr(pc, name)(values, value)


def _of_lists(lists: pa.ListArray, test: Callable[[pa.Array], pa.Array], quantifier: Callable[..., bool]) -> pa.Array:
    """Whether a test holds for any, or for all, of the values of each list; a value that is not there passes none."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    passed = pc.fill_null(test(lists.flatten()), fill_value=False).to_numpy(zero_copy_only=False)
    wanted = passed if quantifier is any else ~passed
    found = np.bincount(parent_groups(lists), weights=wanted, minlength=len(lists)) > 0
    return pa.array(found if quantifier is any else ~found)


def _everywhere(batch: pa.RecordBatch, *, value: bool) -> pa.BooleanArray:
    import pyarrow as pa

    return pa.array([value] * batch.num_rows)
