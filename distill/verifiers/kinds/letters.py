"""Read the letters of options: one, or several where a problem has several right ones.

A letter needs a boundary on both sides and must be a key of the problem. Words are never taken for letters: several
of them count when they are listed ('A, C', '(A) and (C)'), or stand together in the alphabet's order where the gold
has several ('ACD', never 'CAB').
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_uppercase

from distill.verifiers.maths.latex import spaced
from distill.verifiers.maths.quantities import WRAPPER

USUAL_LETTERS = 10  # A to J: as many options as MMLU-Pro has, and what a problem without a list may have
MAX_LEADING = 60  # characters in which a statement names its letter
MAX_LISTED = 300  # and in which it lists several, with their texts

# After an 'A' that is no article and an 'I' that is no pronoun.
REASON = re.compile(r"\s*(?:(?:because|since|as|for|which|where|is|and|with|in)\b|[-–—(=:.,]|$)")
LISTS = str.maketrans("", "", "[]{}\"'\\")  # '["A", "C"]' and '\{A, C\}' are 'A, C'
WORDLIKE = {"A", "I", "a", "i"}

JOIN = re.compile(
    r"\s*(?:[,;/&+、，；]\s*(?:(?:and|(?P<also_or>or))\s+)?|(?:and|和|及|与)(?=[\s(])\s*|(?P<or>or|或)(?=[\s(])\s*)"
)
# What may follow a list: the end, punctuation, a reason, or that they are right. 'C, D is wrong' lists nothing.
AFTER_LIST = re.compile(
    r"\s*(?:$|[.:;。；)\]\"'`*_$\\<}(–—-]|,?\s*(?:because|since|as|for|which|where|so)\b"
    r"|(?:is|are)\s+(?:(?:all|both|the)\s+)?(?:correct|right|true|valid)\b)"
)


@dataclass(frozen=True, slots=True)
class Stated:
    """The letters that a statement names, in its order; ``hedged`` when it leaves open which of them."""

    keys: tuple[str, ...]
    hedged: bool = False


@dataclass(frozen=True, slots=True)
class Patterns:
    """What a letter looks like where the last one is known."""

    bracketed: re.Pattern[str]
    plain: re.Pattern[str]
    alone: re.Pattern[str]
    with_text: re.Pattern[str]
    lone: re.Pattern[str]
    lone_of_several: re.Pattern[str]
    listed: re.Pattern[str]
    together: re.Pattern[str]


def letters_of(options: tuple[str, ...]) -> str:
    """The keys of a problem: a letter for each option, A to J where it lists none.

    >>> letters_of(("x", "y", "z")), letters_of(())
    ('ABC', 'ABCDEFGHIJ')
    """
    return ascii_uppercase[: len(options) or USUAL_LETTERS]


def patterns_of(options: tuple[str, ...]) -> Patterns:
    """The patterns up to J, or further where the problem has more options."""
    return _patterns(ascii_uppercase[min(max(len(options), USUAL_LETTERS), len(ascii_uppercase)) - 1])


@lru_cache(maxsize=len(ascii_uppercase))
def _patterns(last: str) -> Patterns:
    upper, number = f"A-{last}", "10" if last == "J" else "[12]\\d"
    key = rf"(?P<key>[{upper}a-{last.lower()}]|{number}|\d)"
    lone = rf"(?<![\w'’.-])\(?([{upper}])\)?(?![\w'’-])"
    introduction = r"[\s\"'`*_]*(?:(?i:options?|choices?|letters?|statements?)\s+)?(?P<mark>[\"'`*_]*)"
    return Patterns(
        bracketed=re.compile(rf"{introduction}[(\[]\s*{key}\s*[)\]]"),
        plain=re.compile(rf"{introduction}{key}(?P<right>[.:,;)\"'`*_\]]|\s|$)(?P<rest>.*)", re.DOTALL),
        alone=re.compile(rf"\(?([{upper}]|{number}|\d)\)?[.:]?"),
        with_text=re.compile(rf"\(?([{upper}])[).:]\s*(\S.*)", re.DOTALL),
        lone=re.compile(rf"{lone}(?!\s+[a-z])"),
        lone_of_several=re.compile(rf"{lone}(?!\s+(?!(?:and|are)\b)[a-z])"),
        listed=re.compile(rf"{introduction}[(\[]?\s*(?P<key>[{upper}])(?![\w'’-])\s*[)\]]?[.:]?[\"'`*_]*"),
        together=re.compile(rf"{introduction}[(\[]?(?P<keys>[{upper}]{{2,26}})(?![\w'’-])"),
    )


def gold_keys(gold: str, options: tuple[str, ...]) -> frozenset[str]:
    """The letters of a gold that is a letter, a number from 1, an option's text or several letters; else none.

    >>> [sorted(gold_keys(gold, ("x", "y", "z"))) for gold in ("(c)", "2", "Y", "AC", "A, C", '["A", "B"]', "CA", "D")]
    [['C'], ['B'], ['B'], ['A', 'C'], ['A', 'C'], ['A', 'B'], [], []]
    """
    by_text = key_of_text(gold, options)
    if by_text is not None:
        return frozenset(by_text)
    found = patterns_of(options).alone.fullmatch(bare(gold).upper())
    key = key_of(found[1], options) if found else None
    if key is not None:
        return frozenset(key)
    plain = bare(gold.translate(LISTS)) if len(gold) <= MAX_LISTED else ""
    said = listed_keys(plain, options, together=True)
    is_whole = said is not None and re.fullmatch(r"(?:[A-Z]|and|[\s,;/&+、，；()])+", plain)
    return frozenset(said.keys) if said and is_whole and not said.hedged else frozenset()


def key_of(letter: str, options: tuple[str, ...]) -> str | None:
    """The letter as a key of this problem; a number counts from 1, unless the options are numbers themselves.

    >>> key_of("c", ("x", "y", "z")), key_of("2", ("x", "y")), key_of("2", ("12", "14")), key_of("D", ("x",))
    ('C', 'B', None, None)
    """
    letters = letters_of(options)
    if letter.isdigit():
        if any(re.search(r"\d", option) for option in options) or not 1 <= int(letter) <= len(letters):
            return None
        return letters[int(letter) - 1]
    return letter.upper() if letter.upper() in letters else None


def key_of_text(text: str, options: tuple[str, ...]) -> str | None:
    """The letter of the one option with exactly this text; a capital that is a key is no text.

    >>> key_of_text("oslo.", ("Rome", "Oslo")), key_of_text("(B)", ("B", "Al", "Ga")), key_of_text("Al", ("B", "Al"))
    ('B', None, 'B')
    """
    wanted = folded(text) if options else ""
    is_key = len(wanted.strip("()")) == 1 and bare(text).strip("()") in letters_of(options)
    if not wanted or is_key or (texts := _folded_options(options)).count(wanted) != 1:
        return None
    place = texts.index(wanted)
    return ascii_uppercase[place] if place < len(ascii_uppercase) else None


def leading_key(text: str, options: tuple[str, ...]) -> str | None:
    """The letter or number that a statement begins with, whether or not it is a key of the problem."""
    patterns = patterns_of(options)
    found = patterns.bracketed.match(text)
    if found:
        return found["key"]
    found = patterns.plain.match(text)
    if found is None:
        return None
    is_set_off = bool(found["mark"]) or not (found["right"] == "" or found["right"].isspace())
    if found["key"] in WORDLIKE and not is_set_off and not REASON.match(found["rest"]):
        return None
    if found["key"].isdigit() and found["right"] not in {"", ".", ":", ")"} and found["rest"].strip(" .)*_"):
        return None  # '3 apples' names no option
    return found["key"]


def listed_keys(text: str, options: tuple[str, ...], *, together: bool = False) -> Stated | None:
    """The two letters or more that a statement begins with; None when it lists none.

    Args:
        together: 'ACD' is a list as well: only where several options are right.

    >>> listed_keys("(A), C and D.", ()), listed_keys("B or C", ()), listed_keys("C, D is wrong", ())
    (Stated(keys=('A', 'C', 'D'), hedged=False), Stated(keys=('B', 'C'), hedged=True), None)
    >>> listed_keys("ACD", (), together=True), listed_keys("CAB", (), together=True), listed_keys("ACD", ())
    (Stated(keys=('A', 'C', 'D'), hedged=False), None, None)
    >>> listed_keys("(A) Rome and (C) Bern", ("Rome", "Oslo", "Bern"))
    Stated(keys=('A', 'C'), hedged=False)
    """
    letters = letters_of(options)
    if together:
        found = patterns_of(options).together.match(text)
        if found and AFTER_LIST.match(text, found.end()):
            keys = tuple(found["keys"])
            return Stated(keys) if keys == tuple(sorted(set(keys))) and set(keys) <= set(letters) else None
    items, hedged, end = _items(text[:MAX_LISTED], options)
    keys = tuple(dict.fromkeys(items))
    is_list = len(keys) > 1 and set(keys) <= set(letters) and AFTER_LIST.match(text, end)
    return Stated(keys, hedged) if is_list else None


def _items(text: str, options: tuple[str, ...]) -> tuple[list[str], bool, int]:
    """The letters of a list, whether an 'or' joins them, and where the list ends."""
    listed = patterns_of(options).listed
    items: list[str] = []
    hedged, end, start = False, 0, 0
    while found := listed.match(text, start):
        items.append(found["key"])
        end = _past_text(text, found.end(), found["key"], options)
        join = JOIN.match(text, end)
        if join is None or not listed.match(text, join.end()):
            break
        hedged = hedged or bool(join["or"] or join["also_or"])
        start = join.end()
    return items, hedged, end


def _past_text(text: str, end: int, key: str, options: tuple[str, ...]) -> int:
    """Behind the option's own text, where it follows its letter."""
    place = ascii_uppercase.index(key)
    option = options[place].strip().rstrip(".") if place < len(options) else ""
    rest = text[end:].lstrip()
    if option and rest.casefold().startswith(option.casefold()):
        return len(text) - len(rest) + len(option)
    return end


def bare(text: str) -> str:
    """Without LaTeX wrappers, bold and quotation marks around it, and a final full stop."""
    return WRAPPER.sub(r"\1", spaced(text)).strip().strip("*_`\"' ").removesuffix(".").strip()


def folded(text: str) -> str:
    """As texts of options are compared: without wrappers, in one case, with single spaces."""
    return " ".join(bare(text).casefold().split())


@lru_cache(maxsize=256)
def _folded_options(options: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(folded(option) for option in options)
