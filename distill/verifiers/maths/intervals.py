r"""Sets and intervals in one spelling: a set builder, ``x<1 or x>2``, ``]1,2[``, a single part in braces.

What is changed here changes how a set is written, never which set it is.
"""

from __future__ import annotations

import re

from distill.verifiers.maths.latex import split_parts

SIGNS = {"<=": "<", "≤": "<", r"\le": "<", r"\leq": "<", r"\leqslant": "<", r"\lt": "<", "<": "<",
         ">=": ">", "≥": ">", r"\ge": ">", r"\geq": ">", r"\geqslant": ">", r"\gt": ">", ">": ">"}  # fmt: skip
STRICT_SIGNS = {"<", ">", r"\lt", r"\gt"}
SIGN = re.compile(r"<=|>=|[<>≤≥]|\\(?:[lg]eq?(?:slant)?|[lg]t)(?![A-Za-z])")
OR = re.compile(r"\\text\w*\{\s*,?\s*or\s*\}|\\(?:lor|vee)(?![A-Za-z])|,?\s*(?<![A-Za-z\\])or(?![A-Za-z])")
NAME = re.compile(r"[A-Za-z](?:_\{?\w+\}?)?")
BUILDER = re.compile(
    r"\s*\\\{\s*(?P<name>[A-Za-z])\s*(?:\\in\s*(?:\\mathbb\s*\{?\s*R\s*\}?|\\R(?![A-Za-z])))?\s*"
    r"(?::|\||\\mid(?![A-Za-z])|\\vert(?![A-Za-z]))\s*(?P<condition>.+?)\s*\\\}\s*"
)
INTERVAL = re.compile(r"[(\[][^()\[\]]*[,;][^()\[\]]*[)\]]")
USUAL_OR_REVERSED = re.compile(
    r"[(\[][^()\[\]]*[)\]]|(?P<open>[\[\]])(?P<inside>[^\[\]()]*[,;][^\[\]()]*)(?P<close>[\[\]])"
)
ONE_IN_BRACES = re.compile(r"\s*\\\{(?P<inside>[^{}]+)\\\}\s*")


def plain_set(text: str) -> str:
    r"""One spelling of a set or an interval; any other text as it is.

    >>> plain_set(r"\{x \in \mathbb{R} : 1 < x \le 2\}"), plain_set("]1, 2[ and [3, 4[")
    ('(1,2]', '(1, 2) and [3, 4)')
    >>> plain_set(r"x < -1 \text{ or } x \ge 1"), plain_set(r"\{(1,2)\}"), plain_set(r"\{1,2\}"), plain_set("x > 3")
    ('(-\\infty,-1)\\cup[1,\\infty)', '(1,2)', '\\{1,2\\}', 'x > 3')
    """
    if "(" in text or "[" in text:
        text = USUAL_OR_REVERSED.sub(_with_usual_brackets, text)
    if SIGN.search(text):
        builder = BUILDER.fullmatch(text)
        if builder is not None:
            return _union(builder["condition"]) or _interval(builder["condition"])[1] or text
        return _union(text) or text
    one = ONE_IN_BRACES.fullmatch(text)
    return one["inside"].strip() if one is not None and len(split_parts(one["inside"])) == 1 else text


def joined_intervals(text: str) -> str:
    r"""A list of intervals as their union, which is what it answers where the gold is a union.

    >>> joined_intervals(r"(-\infty, 1) \text{ and } (2, 3]"), joined_intervals("1, 2")
    ('(-\\infty, 1)\\cup(2, 3]', '1, 2')
    """
    parts = split_parts(text)
    return r"\cup".join(parts) if len(parts) > 1 and all(map(INTERVAL.fullmatch, parts)) else text


def _union(text: str) -> str:
    """Inequalities in one name, joined by 'or', as a union of intervals; '' for anything else."""
    parts = [part for part in OR.split(text) if part.strip()]
    found = [_interval(part) for part in parts]
    names = {name for name, _ in found}
    return r"\cup".join(interval for _, interval in found) if len(parts) > 1 and len(names) == 1 and all(names) else ""


def _interval(relation: str) -> tuple[str, str]:
    """The name and the interval that one inequality says: x < 3, 3 > x, 1 <= x < 2; two empty texts for anything else.

    >>> _interval(r"x \\ge 2"), _interval("3 > x"), _interval("1 <= x < 2"), _interval("1 < x > 2")
    (('x', '[2,\\\\infty)'), ('x', '(-\\\\infty,3)'), ('x', '[1,2)'), ('', ''))
    """
    sides = [side.strip(" $") for side in SIGN.split(relation)]
    signs = SIGN.findall(relation)
    if len({SIGNS[sign] for sign in signs}) != 1 or not all(sides) or len(sides) > 3:
        return "", ""
    if SIGNS[signs[0]] == ">":
        sides, signs = sides[::-1], signs[::-1]
    is_name = [NAME.fullmatch(side) is not None for side in sides]
    if sum(is_name) != 1 or (len(sides) == 3 and not is_name[1]):
        return "", ""
    place = is_name.index(True)
    low = (("(" if signs[place - 1] in STRICT_SIGNS else "[") + sides[place - 1]) if place > 0 else r"(-\infty"
    is_last = place == len(sides) - 1
    high = r"\infty)" if is_last else sides[place + 1] + (")" if signs[place] in STRICT_SIGNS else "]")
    return sides[place], f"{low},{high}"


def _with_usual_brackets(match: re.Match[str]) -> str:
    if match["open"] is None:
        return match.group()
    opening = "(" if match["open"] == "]" else "["
    closing = ")" if match["close"] == "[" else "]"
    return f"{opening}{match['inside']}{closing}"
