r"""Layer 5: shapes of answers that the engine takes for equal and a reader does not.

Each guard looks at the canonical gold and answer (latex.canonical) and names itself when it refuses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from distill.verifiers.maths.calculate import calculate
from distill.verifiers.maths.latex import split_parts
from distill.verifiers.policy import Policy

EQUALS = re.compile(r"(?<![<>!\\:])=(?!=)")
RELATION = re.compile(
    r"=|<|>|\\(?:l|g)eq?(?![A-Za-z])|\\[lg]t(?![A-Za-z])|\\n?eq?(?![A-Za-z])|\\in(?![A-Za-z])|≤|≥|≠|∈"
)
LEADING_RELATION = re.compile(r"(?:\\neq?(?![A-Za-z])|≠|!=|<|>|\\[lg](?:eq?|t)(?![A-Za-z])|≤|≥)")
WRAPPED = re.compile(r"(?P<open>\\\{|[(\[])(?P<inside>.*)(?P<close>\\\}|[)\]])")
TUPLE_OF_NAMES = re.compile(r"\(\s*[A-Za-z](?:_\{?\w+\}?)?(?:\s*,\s*[A-Za-z](?:_\{?\w+\}?)?)+\s*\)")
SUM_OF_NAMES = re.compile(r"[A-Za-z]{1,2}(?:[-+][A-Za-z]{1,2}){1,5}")
ARGUMENTS = re.compile(r"\([^()]*\)|_\{?\w+\}?|\^\{?-1\}?|\{[^{}\d]*\}|'")


def refused(gold: str, answer: str, policy: Policy = Policy()) -> str:
    r"""The name of the guard that refuses an answer, or ''; a guard that the policy leaves out refuses nothing.

    >>> refused("5", r"\neq5"), refused("5", "[5]"), refused("2,2,3", "2,3"), refused("(1,2)", r"\{1,2\}")
    ('relation', 'bracket', 'multiset', 'braces')
    >>> refused("7", "8=7"), refused("0", "x+1=0"), refused("5", "x=5"), refused("(1,2)", "1,2")
    ('equation', 'equation', '', '')
    """
    for name, guard in GUARDS.items():
        if guard(gold, answer) and getattr(policy, f"guard_{name}"):
            return name
    return ""


def _adds_a_relation(gold: str, answer: str) -> bool:
    return LEADING_RELATION.match(answer) is not None and RELATION.search(gold) is None


def _adds_a_bracket(gold: str, answer: str) -> bool:
    r"""``[5]`` is not 5; but brackets around several parts make an interval or a list."""
    wrapped = WRAPPED.fullmatch(answer)
    if wrapped is None or wrapped["open"] != "[" or WRAPPED.fullmatch(gold) or "matrix" in gold:
        return False
    return len(split_parts(wrapped["inside"])) == 1


def _mixes_braces(gold: str, answer: str) -> bool:
    r"""A set in braces is neither a tuple nor an interval; a plain ``1,2`` may be any of them."""
    first, second = WRAPPED.fullmatch(gold), WRAPPED.fullmatch(answer)
    if first is None or second is None or (first["open"] == r"\{") == (second["open"] == r"\{"):
        return False
    return all(is_one_bracket(match["inside"]) and len(split_parts(match["inside"])) > 1 for match in (first, second))


def is_one_bracket(inside: str) -> bool:
    """True when the brackets around this text belong together: not so in '(1,2),(3,4)'."""
    depth = 0
    for bracket in re.findall(r"[(\[{)\]}]", inside):
        depth += 1 if bracket in "([{" else -1
        if depth < 0:
            return False
    return True


def _drops_a_repetition(gold: str, answer: str) -> bool:
    """A gold of 2,2,3 lists a value twice on purpose."""
    parts = split_parts(gold)
    if len(set(parts)) == len(parts) or WRAPPED.fullmatch(gold):
        return False
    others = split_parts(answer)
    return "\\pm" not in answer and Counter(others) != Counter(parts) and set(others) <= set(parts)


def _is_a_false_equation(gold: str, answer: str) -> bool:
    """The engine takes the right-hand side; that is meant only after a name, or in an equation that holds."""
    sides = equation_sides(answer)
    if len(sides) < 2 or RELATION.search(gold) or is_name(sides[0]):
        return False
    if is_sum_of_names(sides[0]):
        return False
    values = [calculate(side) for side in sides]
    if None not in values:
        return len(set(values)) > 1
    return re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", sides[0])) is not None


GUARDS: dict[str, Callable[[str, str], bool]] = {
    "relation": _adds_a_relation,
    "bracket": _adds_a_bracket,
    "braces": _mixes_braces,
    "multiset": _drops_a_repetition,
    "equation": _is_a_false_equation,
}


def equation_sides(text: str) -> tuple[str, ...]:
    """The sides of one equation or chain of equations; a list of several equations is one side.

    >>> equation_sides("35/7=5"), equation_sides("x=1,y=2"), equation_sides("x<=3")
    (('35/7', '5'), ('x=1,y=2',), ('x<=3',))
    """
    if "=" not in text or len(split_parts(text)) > 1:
        return (text,)
    return tuple(side.strip() for side in EQUALS.split(text))


def is_sum_of_names(side: str) -> bool:
    """True for what a question asks for and names by its parts: m+n, a+b+c, AB-BC.

    >>> [is_sum_of_names(side) for side in ("m+n", "AB + BC", "x+1", "2x+y", "x+x", "x")]
    [True, True, False, False, False, False]
    """
    side = side.replace(" ", "")
    names = re.split(r"[-+]", side) if SUM_OF_NAMES.fullmatch(side) else ()
    return len(set(names)) == len(names) > 1


def is_name(side: str) -> bool:
    r"""True for what names a value: ``x``, ``f(x)``, ``|AB|``, ``(x,y)``, ``\angle ABC``; not for ``x+1`` or ``2x``.

    >>> [is_name(side) for side in ("x_1", "f(-2)", "|AB|", "S:T", r"P(A\cup B)", "x+1", "2x", "8", "x^2")]
    [True, True, True, True, True, False, False, False, False]
    """
    if TUPLE_OF_NAMES.fullmatch(side):
        return True
    if "\\sqrt" in side:
        return False
    bare = ARGUMENTS.sub("", side)
    return re.search(r"[A-Za-z]", bare) is not None and re.search(r"[-+*/^\d=<>]", bare) is None
