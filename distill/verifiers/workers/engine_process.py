r"""math-verify, as the child process runs it; it decides for layer 4.

Nothing here ever calls ``str()`` on a parsed object (of a power tower that alone can hang), and no text
is evaluated as code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from distill.errors import DistillError

Reply = dict[str, Any]


def load_engine() -> Callable[[Reply], Reply]:
    """Import math-verify and build its grammar, both before any deadline runs.

    Raises:
        DistillError: it cannot be used here.
    """
    try:
        compare({"gold": r"\frac{1}{2}", "answer": "0.5"})
    except BaseException as error:  # without a fitting antlr it raises no ImportError
        raise DistillError(
            f"math-verify cannot be used: {type(error).__name__}: {error}",
            hint="pip install 'math-verify[antlr4_13_2]', or the extra that fits your antlr4 runtime",
        ) from None
    return compare


def compare(request: Reply) -> Reply:
    """Whether the answer equals the gold, both put in a box; without an answer, whether the gold can be read."""
    from math_verify import verify

    golds = parsed(request["gold"])
    if not golds:
        return {"reason": "gold_unparsed"}
    if request.get("answer") is None:
        return {"reason": ""}
    answers = parsed(request["answer"])
    if not answers:
        return {"reason": "answer_unparsed"}
    same = partial(
        verify,
        float_rounding=request.get("float_rounding", 6),
        strict=request.get("strict", True),
        allow_set_relation_comp=request.get("set_relations", True),
        timeout_seconds=None,
    )
    equal = (
        same(list(golds), list(answers))
        or (any(map(has_i, (*golds, *answers))) and same(with_imaginary_unit(golds), with_imaginary_unit(answers)))
        or (is_name(golds[0]) and is_formula(answers[0]) and same([2 * golds[0]], [2 * answers[0]]))
    )
    if (
        equal
        and request.get("guard_magnitude", True)
        and is_another_magnitude(golds[0], answers[0], request.get("relative_tolerance", 1e-5))
    ):
        return {"equal": False, "reason": "guard:magnitude"}
    return {"equal": bool(equal), "reason": "engine"}


@lru_cache(maxsize=256)
def parsed(latex: str) -> tuple[Any, ...]:
    """What math-verify reads in a box; neither the text that it falls back to nor an undefined value is a reading."""
    from math_verify import LatexExtractionConfig, parse
    from sympy import nan, zoo

    found = parse(f"\\boxed{{{latex}}}", [LatexExtractionConfig(boxed_match_priority=0)], parsing_timeout=None)
    return tuple(value for value in found if not isinstance(value, str) and value is not zoo and value is not nan)


def is_name(value: Any) -> bool:
    """True for a lone letter, which math-verify compares as it is written: to it x is not 2x - x."""
    return getattr(value, "is_Symbol", False)


def is_formula(value: Any) -> bool:
    """True for what has a value that can be multiplied."""
    from sympy import Expr

    return isinstance(value, Expr)


def has_i(value: Any) -> bool:
    """True where the letter i stands, which math-verify reads as a variable."""
    return any(symbol.name == "i" for symbol in getattr(value, "free_symbols", ()))


def with_imaginary_unit(values: tuple[Any, ...]) -> list[Any]:
    """The values with the letter i as the imaginary unit, without those for which it cannot be, such as i < 3."""
    from sympy import I

    found = []
    for value in values:
        try:
            found.append(value.subs({symbol: I for symbol in value.free_symbols if symbol.name == "i"}))
        except (AttributeError, TypeError, ValueError):
            continue
    return found


def is_another_magnitude(gold: Any, other: Any, relative_tolerance: float) -> bool:
    """True for two numbers that the library calls equal because both are small: 1/2^99 and 1/2^98.

    It chops differences below about 1e-15 and rounds decimals to six places; this compares the ratio.
    """
    from sympy import Eq, Expr, simplify

    gold, other = (value.rhs if isinstance(value, Eq) and value.lhs.is_Symbol else value for value in (gold, other))
    if not (isinstance(gold, Expr) and isinstance(other, Expr) and gold.is_number and other.is_number):
        return False
    first, second = abs(gold.doit().evalf(30)), abs((gold - other).doit().evalf(30))
    if second == 0 or not (first.is_Float and second.is_Float):
        return False
    if bool(second <= relative_tolerance * first):
        return False
    return not simplify(gold - other).is_zero
