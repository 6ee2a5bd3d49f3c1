r"""Harmless rewriting of answers: what may be changed without changing what they say.

Letters, units, brackets and case are never touched: a normaliser that strips letters makes
``(+5)(b+2)`` of ``(a+5)(b+2)``.
"""

from __future__ import annotations

import re
from functools import lru_cache

from distill.verifiers.reading.boxes import complete_boxes

DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))
MAX_REMEMBERED = 1_000  # characters of a text whose spelling is kept: 4,096 regions of 50,000 would be 200 MB
MAX_WRAPPERS = 6  # each costs a pass over the text; nobody wraps an answer so often, and 25,000 braces took a minute
MINUS_SIGNS = str.maketrans(dict.fromkeys("\u2012\u2013\u2212\ufe63\uff0d", "-"))

# Text that went through a JSON encoder once too often; before a command only, since '\\\\' also ends a matrix row.
DOUBLED = re.compile(
    r"(?<!\\)\\\\(?=(?:[dtc]?frac|left|right|sqrt|pi|text|cdot|times|leq?|geq?|infty|begin|end|pm|cup|circ|math\w+)(?![A-Za-z]))"
)
SIZES = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|normalsize|large|Large|LARGE|huge|Huge)(?![A-Za-z])"
)
FRACTIONS = re.compile(r"\\[dtc]frac(?![A-Za-z])")
SHORT_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|(\d|\\pi(?![A-Za-z])))\s*(?:\{([^{}]*)\}|(\d|\\pi(?![A-Za-z])))")
STYLES = re.compile(r"\\(?:mathbf|mathit|mathrm|boldsymbol|bm|textbf|underline)\s*\{([^{}\\A-Za-z]*\d[^{}\\A-Za-z]*)\}")
COLOURS = re.compile(r"\\(?:text)?color\s*\{[^{}]*\}")
REMARKS = re.compile(r"(?:\\(?:approx|therefore|implies|[Ll]?(?:ongr|R)ightarrow)(?![A-Za-z])|[≈∴⇒])\s*")
REPEATING = re.compile(
    r"(?<![\d.,])(?P<whole>\d{1,40})\.(?P<once>\d{0,40})\\(?:overline|bar|dot)(?![A-Za-z])\s*"
    r"(?:\{\s*(?P<again>\d{1,100})\s*\}|(?P<digit>\d))"
)
NARROW_SPACES = re.compile(r"(?<!\s)\s*(?<!\\)\\!\s*")
WIDE_SPACES = re.compile(r"(?<!\\)\\[,;: ]|~|\\q?quad(?![A-Za-z])|[\u00a0\u2009\u202f]")
MATHS_MODE = re.compile(r"(?<!\\)(?:\\[()\[\]]|\$)")
# '2 1/2' is not '21/2', and '32, 349' is two numbers where '32,349' is one.
SPACES = re.compile(r"(?:(?<=\d)\s+(?=\d)|(?<=\d,)\s+(?=\d{3}(?!\d)))|(\s+)")

# What a reader sees and the engine does not know.
SYMBOLS = {
    "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": r"\div ", "π": r"\pi ", "∞": r"\infty ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\neq ", "°": r"^\circ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "∅": r"\emptyset ", "±": r"\pm ", "≈": r"\approx ", "²": "^2", "³": "^3", "½": r"\frac{1}{2}",
    r"\langle": "(", r"\rangle": ")", "⟨": "(", "⟩": ")",
    "α": r"\alpha ", "β": r"\beta ", "θ": r"\theta ", r"\varnothing": r"\emptyset ",
}  # fmt: skip
SYMBOL = re.compile("|".join(re.escape(symbol) for symbol in SYMBOLS))
# The engine takes upright letters at the end of a formula for a unit and drops them.
UPRIGHT_LETTER = re.compile(
    r"\\(?:mathrm|mathit|mathbf|text|operatorname)\s*(?:\{\s*([A-Za-z])\s*\}|([A-Za-z])(?![A-Za-z]))"
)
ROOT_SIGN = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+|[A-Za-z]))")
PLAIN_ROOT = re.compile(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)")
# In forms that the engine misreads: \ln 2 \cdot x is to it the logarithm of 2x, \sin 2 \pi x times x.
_FUNCTION = r"\\(?:sin|cos|tan|cot|sec|csc|ln|log|exp)(?:\s*\^\s*\{?\d\}?)?(?:_\{?\w{1,3}\}?)?(?![A-Za-z])"
FUNCTION_TIMES = re.compile(
    rf"({_FUNCTION})\s*(\d+(?:\.\d+)?|[A-Za-z]|\\(?:alpha|beta|theta|phi|pi))\s*(?=\\(?:cdot|times)(?![A-Za-z]))"
)
FUNCTION_OF_PI = re.compile(rf"({_FUNCTION})\s*(\d{{0,9}}\s*\\pi\s*[A-Za-z])(?![A-Za-z_^(])")
TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
DEGREES = re.compile(r"(\d+(?:\.\d+)?|\\frac\{\d+\}\{\d+\})\s*\^\s*\{?\s*\\circ\s*\}?")
BINOMIAL = re.compile(r"\\[dt]?binom(?![A-Za-z])\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))")
CHOOSE = re.compile(r"(?:\{|\A)\s*([^{}\\]{1,40}?)\s*\\choose(?![A-Za-z])\s*([^{}\\]{1,40}?)\s*(?:\}|\Z)")
ROOT_OF_NEGATIVE = re.compile(r"\\sqrt\s*\[\s*([3579])\s*\]\s*\{\s*-\s*(\d+)\s*\}")
SHORT_ROOT = re.compile(r"\\sqrt\s*\[([^\[\]{}]{1,9})\]\s*(\d)")
LOGARITHMS = re.compile(r"\\(?:lg(?![A-Za-z])|log\s*_\s*(?:e(?![A-Za-z])|\{\s*e\s*\}))")
GROUPED_DIGITS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?![\d.])")
NUMBER_TIMES = re.compile(r"(?<![\w.\\}])(\d+)\s*(?=\(\s*\d+\s*\))")


def unwrap(text: str) -> str:
    r"""Without the maths delimiters, boxes and bold signs around the whole of it, and a final full stop on each level.

    >>> unwrap(r" $\boxed{5}$. "), unwrap("**7**"), unwrap(r"$3$ or $4$"), unwrap(r"{1,2}.")
    ('5', '7', '$3$ or $4$', '1,2')
    """
    text = _without_full_stop(text)
    for _ in range(MAX_WRAPPERS):
        inner = _inside(text)
        if inner is None:
            break
        text = _without_full_stop(inner)
    return text


def _without_full_stop(text: str) -> str:
    text = text.strip()
    return text[:-1].rstrip() if text.endswith(".") and not text.endswith("..") else text


def _inside(text: str) -> str | None:
    if not text or text[0] not in "$\\*`{":
        return None
    if text[0] == "{":
        return text[1:-1] if text[-1] == "}" and text[-2:-1] != "\\" and is_balanced(text[1:-1], len(text)) else None
    for opening, closing in DELIMITERS:
        if len(text) >= len(opening + closing) and text.startswith(opening) and text.endswith(closing):
            inner = text[len(opening) : -len(closing)]
            if opening not in inner.replace(r"\$", "") and closing not in inner and not inner.endswith("\\"):
                return inner
    if text.startswith("\\") and text.endswith("}"):
        boxes = complete_boxes(text)
        if len(boxes) == 1 and boxes[0].end == len(text) and not text[: boxes[0].start].strip("\\"):
            return boxes[0].content
    return None


def spaced(text: str) -> str:
    r"""One way of writing fractions, brackets, minus signs and spaces; words stay apart.

    >>> spaced(r"\left( 12,\!000,\  \dfrac 3{4} \right)"), spaced(r"\frac \pi2"), spaced(r"\approx\mathbf{3}")
    ('( 12,000, \\frac{3}{4} )', '\\frac{\\pi}{2}', '3')
    """
    return _spaced(text) if len(text) <= MAX_REMEMBERED else _spaced.__wrapped__(text)


@lru_cache(maxsize=4096)
def _spaced(text: str) -> str:
    text = unwrap(COLOURS.sub("", text) if "color" in text else text).translate(MINUS_SIGNS)
    remark = REMARKS.match(text)
    text = text[remark.end() :] if remark else text
    if "\\" in text or "$" in text or "~" in text:
        text = STYLES.sub(r"\1", DOUBLED.sub(r"\\", text))
        text = REPEATING.sub(_repeating_decimal, text)
        text = WIDE_SPACES.sub(" ", NARROW_SPACES.sub("", SIZES.sub("", text)))
        text = SHORT_FRACTION.sub(_braced_fraction, FRACTIONS.sub(r"\\frac", text))
        text = MATHS_MODE.sub("", text)
    return " ".join(text.replace("{,}", ",").split())


def _repeating_decimal(match: re.Match[str]) -> str:
    r"""The fraction that a decimal without end is: n digits once and m again and again divide by 10^n (10^m - 1).

    >>> spaced(r"0.1\overline{6}"), spaced(r"-3.\bar3\%")
    ('\\frac{15}{90}', '-\\frac{30}{9}\\%')
    """
    once, again = match["once"], match["again"] or match["digit"]
    over = int(match["whole"] + once + again) - int(match["whole"] + once)
    return rf"\frac{{{over}}}{{{'9' * len(again) + '0' * len(once)}}}"


def _braced_fraction(match: re.Match[str]) -> str:
    over, over_digit, under, under_digit = match.groups()
    return rf"\frac{{{over_digit or over.strip()}}}{{{under_digit or under.strip()}}}"


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    r"""As ``spaced``, without the spaces that mean nothing.

    >>> canonical(r"$ x = -\tfrac12 $."), canonical("2 1/2"), canonical("{1 , 2}"), canonical("32, 349")
    ('x=-\\frac{1}{2}', '2 1/2', '1,2', '32, 349')
    """
    return SPACES.sub(_kept_space, spaced(text))


def _kept_space(match: re.Match[str]) -> str:
    return "" if match[1] else " "


def for_engine(text: str) -> str:
    r"""As LaTeX that the engine reads, between the braces of a box.

    >>> for_engine("3√2"), for_engine("2·sqrt(x)"), for_engine("1000(26)"), for_engine(r"1\,000 + 1")
    ('3\\sqrt{2}', '2\\cdot \\sqrt{x}', '1000\\cdot (26)', '1000 + 1')
    """
    text = SYMBOL.sub(lambda match: SYMBOLS[match.group()], spaced(text))
    text = ROOT_SIGN.sub(lambda match: rf"\sqrt{{{match[1] or match[2]}}}", text)
    text = UPRIGHT_LETTER.sub(lambda match: match[1] or match[2], text)
    text = PLAIN_ROOT.sub(r"\\sqrt{\1}", text)
    text = GROUPED_DIGITS.sub(lambda match: match.group().replace(" ", ""), text)
    if "\\" in text:
        text = _functions_for_engine(_roots_and_binomials_for_engine(text))
    return NUMBER_TIMES.sub(r"\1\\cdot ", text)


def _roots_and_binomials_for_engine(text: str) -> str:
    r"""The root of a negative number as people read it, and braces where TeX does without.

    >>> for_engine(r"\sqrt[3]{-8}"), for_engine(r"\sqrt[3]2"), for_engine(r"\dbinom52"), for_engine(r"{5 \choose 2}!")
    ('(-\\sqrt[3]{8})', '\\sqrt[3]{2}', '\\binom{5}{2}', '\\binom{5}{2}!')
    """
    text = SHORT_ROOT.sub(r"\\sqrt[\1]{\2}", ROOT_OF_NEGATIVE.sub(r"(-\\sqrt[\1]{\2})", text))
    text = CHOOSE.sub(r"\\binom{\1}{\2}", text)
    return BINOMIAL.sub(lambda match: rf"\binom{{{match[1] or match[2]}}}{{{match[3] or match[4]}}}", text)


def _functions_for_engine(text: str) -> str:
    r"""Arguments in brackets, degrees in radians, and the logarithms that the engine does not know.

    >>> for_engine(r"\ln 2 \cdot x"), for_engine(r"\sin 2\pi t"), for_engine(r"2\sin 30^\circ"), for_engine(r"\lg 5")
    ('\\ln(2)\\cdot x', '\\sin(2\\pi t)', '2\\sin (\\frac{30\\pi}{180})', '\\log_{10} 5')
    """
    text = LOGARITHMS.sub(lambda match: r"\log_{10}" if match.group() == r"\lg" else r"\ln", text)
    text = text.replace(r"\degree", r"^\circ")
    if TRIGONOMETRIC.search(text):
        text = DEGREES.sub(r"(\\frac{\1\\pi}{180})", text)
    return FUNCTION_OF_PI.sub(r"\1(\2)", FUNCTION_TIMES.sub(r"\1(\2)", text))


def is_balanced(text: str, max_depth: int) -> bool:
    r"""True when the braces of a text match and never nest deeper than ``max_depth``.

    >>> is_balanced(r"\frac{1}{2}", 1), is_balanced(r"\frac{1}{", 1), is_balanced(r"\{", 1), is_balanced("{{1}}", 1)
    (True, False, True, False)
    """
    depth = 0
    for brace in re.findall(r"\\\\|\\[{}]|[{}]", text):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if not 0 <= depth <= max_depth:
            return False
    return depth == 0


MAY_SEPARATE = re.compile(r"[,;]|and|or")  # quicker to look for
SEPARATOR = re.compile(
    r"\\text\w*\{\s*,?\s*(?:and|or)\s*\}|\\\\|\\?[\[({]|\\?[\])}]|[,;]"
    r"|(?<=[\d)}])(?:and|or)|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])"
)


def split_parts(text: str) -> tuple[str, ...]:
    r"""The parts of a list: split at commas, semicolons, 'and' and 'or' that stand in no bracket.

    >>> split_parts(r"(1,2), 3 \text{ and } x=\{4,5\}"), split_parts("1,234")
    (('(1,2)', '3', 'x=\\{4,5\\}'), ('1', '234'))
    """
    if not MAY_SEPARATE.search(text):
        return (text.strip(),) if text.strip() else ()
    parts, depth, start = [], 0, 0
    for token in SEPARATOR.finditer(text):
        symbol = token.group()
        if symbol[-1] in "[({":
            depth += 1
        elif symbol[-1] in "])}" and not symbol.startswith("\\text"):
            depth -= 1
        elif symbol != "\\\\" and depth == 0:
            parts.append(text[start : token.start()].strip())
            start = token.end()
    parts.append(text[start:].strip())
    return tuple(part for part in parts if part)
