r"""Lists of numbers, and lists whose order counts, compared part by part before the engine makes sets of them.

1, 2        any brackets and any order, unless the policy says that order counts
\{1, 2\}    in braces or plain, in any order
(1, 2)      in the same brackets or plain, in this order; so are [1, 2) and its kind, but not plain
a=1, b=2    a plain list answers it in the order of the names
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from distill.verifiers.maths.guards import ARGUMENTS, TUPLE_OF_NAMES, WRAPPED, equation_sides, is_name, is_one_bracket
from distill.verifiers.maths.latex import spaced, split_parts
from distill.verifiers.maths.quantities import Quantity, read_quantity, same_quantity
from distill.verifiers.policy import Policy
from distill.verifiers.reading.boxes import MAX_PARTS

# '1,000 and 2' and '1,000, 2': a comma without a space is no separator where another one is.
OTHER_SEPARATOR = re.compile(r",\s|;|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])")
PLUS_MINUS = re.compile(r"\\(?P<sign>pm|mp)(?![A-Za-z])|±")
OPENING_SIGN = re.compile(r"(?P<before>^|[={(\[,]|\\frac\{)\s*(?:\+|(?P<minus>-))\s*")
GROUP_COMMA = re.compile(r"(?<=\d),(?=\d{3}(?![\d]))")
RATIO = re.compile(r"\d{1,15}(?: ?: ?\d{1,15}){2,9}")
MAY_BE_LIST = re.compile(r"[,;±]|and|or|\\(?:pm|mp)(?![A-Za-z])")
UNCLEAR_GROUP = re.compile(r"(?<![\d,])[1-9]\d{0,2},\d{3}(?!\d)")


@dataclass(frozen=True, slots=True)
class Listing:
    """The parts of a list as they are written, and the brackets around them: '' or such as '()', '[)', '{}'."""

    parts: tuple[str, ...]
    brackets: str = ""
    names: tuple[str, ...] = ()
    """The names that the parts give to their values; empty unless each part has one."""


def read_list(text: str) -> Listing | None:
    r"""The list that a text is, or None for anything with fewer than two parts, or more than anybody reads.

    >>> read_list(r"\{1, 2\}").brackets, read_list("x=1 or x=2").parts, read_list("1,000, 2").parts, read_list("5")
    ('{}', ('1', '2'), ('1000', '2'), None)
    """
    text = spaced(text)
    if not MAY_BE_LIST.search(text):
        return None
    text = assignments(expanded(ungrouped(text)))
    wrapped = WRAPPED.fullmatch(text)
    if wrapped is not None and not is_one_bracket(wrapped["inside"]):
        wrapped = None
    parts = split_parts(wrapped["inside"] if wrapped else text)
    if not 2 <= len(parts) <= MAX_PARTS:
        return None
    sides = [equation_sides(part) for part in parts]
    if not all(len(both) == 2 and is_name(both[0]) for both in sides):
        sides = [("", part) for part in parts]
    names = tuple(ARGUMENTS.sub("", name).strip() or name for name, _ in sides)
    brackets = (wrapped["open"] + wrapped["close"]).replace("\\", "") if wrapped else ""
    return Listing(tuple(value for _, value in sides), brackets, names if all(names) else ())


def ungrouped(text: str) -> str:
    """Without the commas of thousands, where something else separates the parts.

    >>> ungrouped("1,000, 2,000"), ungrouped("1,000 and 2"), ungrouped("100,200")
    ('1000, 2000', '1000 and 2', '100,200')
    """
    return GROUP_COMMA.sub("", text) if OTHER_SEPARATOR.search(text) else text


def expanded(text: str) -> str:
    r"""With both values in the place of each part that says 'plus or minus' once; the signs below go the other way.

    >>> expanded(r"x=\frac{3\pm\sqrt{5}}{2}"), expanded(r"0, \pm 2"), expanded(r"\{\pm i\}"), expanded("5")
    ('x=\\frac{3+\\sqrt{5}}{2}, x=\\frac{3-\\sqrt{5}}{2}', '0, 2, -2', '\\{i, -i\\}', '5')
    """
    if not PLUS_MINUS.search(text):
        return text
    wrapped = WRAPPED.fullmatch(text)
    if wrapped is not None and wrapped["open"] == r"\{" and is_one_bracket(wrapped["inside"]):
        return rf"\{{{expanded(wrapped['inside'])}\}}"
    parts = split_parts(text)
    signs = [sorted(match["sign"] or "pm" for match in PLUS_MINUS.finditer(part)) for part in parts]
    if len(parts) > MAX_PARTS or any(found not in ([], ["pm"], ["mp"], ["mp", "pm"]) for found in signs):
        return text  # (\pm 1, \pm 2) are two points or four
    values = (
        (part,) if not found else (_signed(part, "+-"), _signed(part, "-+"))
        for part, found in zip(parts, signs, strict=True)
    )
    return ", ".join(value for both in values for value in both)


def _signed(part: str, signs: str) -> str:
    """A part with the first sign for plus or minus, the second for minus or plus."""
    part = PLUS_MINUS.sub(lambda match: signs[match["sign"] == "mp"], part)
    return OPENING_SIGN.sub(lambda match: match["before"] + (match["minus"] or ""), part)


def assignments(text: str) -> str:
    """An equation of a tuple of names as one equation for each name; any other text as it is.

    >>> assignments("(x, y) = (1, 2)"), assignments("(1, 2)")
    ('x=1, y=2', '(1, 2)')
    """
    sides = equation_sides(text) if text.startswith("(") and "=" in text else ()
    if len(sides) != 2 or not TUPLE_OF_NAMES.fullmatch(sides[0]) or not WRAPPED.fullmatch(sides[1]):
        return text
    names, values = (split_parts(side[1:-1]) for side in sides)
    return (
        ", ".join(f"{name}={value}" for name, value in zip(names, values, strict=False))
        if len(names) == len(values)
        else text
    )


def same_ratio(gold: str, answer: str) -> bool | None:
    """Whether two ratios of three or more whole numbers are the same; None where one is anything else.

    >>> same_ratio("3:4:5", "6:8:10"), same_ratio("3:4:5", "3:5:4"), same_ratio("3:4", "4:3")
    (True, False, None)
    """
    if not (RATIO.fullmatch(gold) and RATIO.fullmatch(answer)):
        return None
    first, second = ([int(part) for part in ratio.split(":")] for ratio in (gold, answer))
    return len(first) == len(second) and all(
        one * sum(second) == other * sum(first) for one, other in zip(first, second, strict=True)
    )


def is_ordered(gold: Listing, answer: Listing, policy: Policy) -> bool | None:
    """Whether the parts must stand in the gold's order; None where the two are different kinds of things."""
    if not gold.brackets:
        return is_assignment(gold, answer) or policy.list_order == "gold"
    may_be_plain = gold.brackets in {"()", "{}"}  # a plain list is no interval
    if answer.brackets != gold.brackets and not (may_be_plain and not answer.brackets):
        return None
    return gold.brackets != "{}"


def is_assignment(gold: Listing, answer: Listing) -> bool:
    """True where the gold gives each of several names a value and the answer only lists values."""
    return len(set(gold.names)) == len(gold.parts) and not answer.names


def same_numbers(gold: str, answer: str, policy: Policy) -> tuple[bool | None, str]:
    """Whether two lists of numbers are the same, and the guard that refuses; None where a part is anything else.

    >>> policy = Policy()
    >>> same_numbers("1, 2", "2.0 and 1", policy), same_numbers("(1, 2)", "(2, 1)", policy)
    ((True, ''), (False, ''))
    >>> same_numbers("2,2,3", "2,3", policy), same_numbers("x, 2", "2, x", policy)
    ((False, 'guard:multiset'), (None, ''))
    """
    first, second = read_list(gold), read_list(answer)
    if first is None or second is None or (first.names and second.names and set(first.names) != set(second.names)):
        return None, ""
    ordered = is_ordered(first, second, policy)
    if ordered is None or len(set(second.names)) > 1:
        return None, ""
    if any(UNCLEAR_GROUP.search(text) and not OTHER_SEPARATOR.search(text) for text in (gold, answer)):
        return None, ""
    golds, answers = _quantities(first), _quantities(second)
    if golds is None or answers is None:
        return None, ""
    table = [[same_quantity(one, other, policy)[0] for other in answers] for one in golds]
    as_multisets = policy.guard_multiset and first.brackets != "{}"
    return _same_rows(table, golds, ordered=ordered, as_multisets=as_multisets)


def _quantities(listing: Listing) -> list[Quantity] | None:
    read = [read_quantity(part) for part in listing.parts]
    found = [quantity for quantity in read if quantity is not None]
    return found if len(found) == len(read) else None


def _same_rows(
    table: Sequence[Sequence[bool | None]], golds: Sequence[Quantity], *, ordered: bool, as_multisets: bool
) -> tuple[bool | None, str]:
    """What a table (gold part, answer part) of equal parts says about the two lists."""
    if any(cell is None for row in table for cell in row):
        return None, ""
    num_answers = len(table[0])
    if ordered:
        return len(table) == num_answers and all(table[place][place] for place in range(num_answers)), ""
    same_set = all(map(any, table)) and all(map(any, zip(*table, strict=True)))
    repeats = len({quantity.number.value for quantity in golds}) < len(golds)
    if not (same_set and repeats and as_multisets):
        return same_set, ""
    # A value that stands k times in the gold has k rows with k cells each where the answer has it k times, too.
    is_same = len(table) == num_answers and all(
        sum(map(bool, row)) == sum(1 for other in table if list(other) == list(row)) for row in table
    )
    return is_same, "" if is_same else "guard:multiset"
