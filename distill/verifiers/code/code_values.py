"""Whether what a submitted program returned or printed is what its tests expect; compared here, never by the program.

What comes back from the program is JSON that names the kind of every container (``code_process.encode``).
It is never turned into sets or dictionaries here: keys chosen to collide would make that slow.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

ROUNDING = 1e-9  # another order of summation, nothing more

Tolerance = tuple[float, float]
"""Relative and absolute."""
MAX_NUMBER_CHARACTERS = 400
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")


def same_value(
    returned: Any, expected: Any, tolerance: Tolerance = (ROUNDING, ROUNDING), *, from_json: bool = False
) -> bool:
    """Whether an encoded value equals the expected one, as Python's ``==`` would say of plain data.

    Args:
        tolerance: where one of two numbers is a float.
        from_json: the expected value was written in JSON, which has no tuples and no keys but strings.

    >>> same_value({"list": [1, 0.30000000000000004]}, [1, 0.3]), same_value({"tuple": [1]}, [1])
    (True, False)
    >>> same_value({"dict": [[1, {"tuple": [2]}]]}, {"1": [2]}, from_json=True)
    True
    """
    if isinstance(expected, bool | int | float) and isinstance(returned, bool | int | float):
        return _same_number(returned, expected, tolerance)
    if expected is None or isinstance(expected, str) or not isinstance(returned, dict):
        return bool(returned == expected) and type(returned) is type(expected)
    kind, content = next(iter(returned.items()), ("", None))
    if isinstance(expected, list | tuple) and isinstance(content, list):
        if kind not in ({"list", "tuple"} if from_json else {type(expected).__name__}) or len(content) != len(expected):
            return False
        pairs = zip(content, expected, strict=True)
        return all(same_value(value, other, tolerance, from_json=from_json) for value, other in pairs)
    if isinstance(expected, dict) and kind == "dict" and isinstance(content, list):
        return _same_dict(content, expected, tolerance, from_json=from_json)
    if isinstance(expected, set | frozenset) and kind == "set" and isinstance(content, list):
        return _same_set(content, expected)
    if isinstance(expected, bytes) and kind == "bytes":
        return bool(content == expected.decode("latin-1"))
    return isinstance(expected, complex) and kind == "complex" and content == [expected.real, expected.imag]


def same_output(printed: str, expected: str, tolerance: float = 0.0) -> bool:
    r"""Whether two texts have the same lines, spaces around them aside; numbers may be written differently.

    >>> same_output("3 \n1.50\n\n", "3\n1.5"), same_output("3\n4", "3 4"), same_output("0.3333", "0.33333", 1e-3)
    (True, False, True)
    """
    if printed.strip() == expected.strip():
        return True
    lines, others = ([line.strip() for line in text.strip().split("\n")] for text in (printed, expected))
    if len(lines) != len(others):
        return False
    return all(line == other or _same_tokens(line, other, tolerance) for line, other in zip(lines, others, strict=True))


def _same_number(value: float, other: float, tolerance: Tolerance) -> bool:
    if value == other:
        return True
    if not (isinstance(value, float) or isinstance(other, float)):
        return False
    try:
        return (math.isnan(value) and math.isnan(other)) or math.isclose(
            value, other, rel_tol=tolerance[0], abs_tol=tolerance[1]
        )
    except OverflowError:  # an integer beyond all floats
        return False


def _same_dict(content: list[Any], expected: dict[Any, Any], tolerance: Tolerance, *, from_json: bool) -> bool:
    seen = set()
    for pair in content:
        if not (isinstance(pair, list) and len(pair) == 2):
            return False
        key = _json_key(pair[0]) if from_json else _hashable(pair[0])
        if key is None or key not in expected or not same_value(pair[1], expected[key], tolerance, from_json=from_json):
            return False
        seen.add(key)  # known to be one of the expected keys
    return len(seen) == len(expected) == len(content)


def _same_set(content: list[Any], expected: set[Any] | frozenset[Any]) -> bool:
    elements = [_hashable(element) for element in content]
    if not (len(elements) == len(expected) and all(element in expected for element in elements)):
        return False
    return len(set(elements)) == len(expected)  # all of them known to be expected ones, none chosen to collide


def _hashable(value: Any) -> Any:
    """A key or an element of a set, decoded; None stands for what cannot be one, and for None itself."""
    if not isinstance(value, dict):
        return None if isinstance(value, list) else value
    kind, content = next(iter(value.items()), ("", None))
    if kind == "tuple" and isinstance(content, list):
        return tuple(_hashable(element) for element in content)
    if kind == "bytes" and isinstance(content, str):
        return content.encode("latin-1", "replace")
    return None


def _json_key(value: Any) -> str | None:
    """A key as JSON would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    return str(value) if isinstance(value, str | int | float) else None


def _same_tokens(line: str, other: str, tolerance: float) -> bool:
    tokens, others = line.split(), other.split()
    return len(tokens) == len(others) and all(
        token == wanted or _same_written_number(token, wanted, tolerance)
        for token, wanted in zip(tokens, others, strict=True)
    )


def _same_written_number(token: str, other: str, tolerance: float) -> bool:
    if max(len(token), len(other)) > MAX_NUMBER_CHARACTERS or not (NUMBER.fullmatch(token) and NUMBER.fullmatch(other)):
        return False
    if Decimal(token) == Decimal(other):
        return True
    return tolerance > 0 and _same_number(float(token), float(other), (tolerance, tolerance))
