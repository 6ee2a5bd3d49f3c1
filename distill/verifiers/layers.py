r"""The layers that compare one mathematical answer with a gold, from the cheapest to the engine.

    0 limits    too long, too deep, too many digits: unverified
    1 string    equal after harmless rewriting: correct
    2 number    both are one number, with or without unit or percent sign: compared exactly
    3 words     a gold that is words, or a letter, is compared as such
    5 guards    shapes that the engine would wrongly accept
    4 engine    math-verify in a killable worker, both sides in a box, the gold first

The guards stand before the engine because they need none; the one on magnitudes sits inside it.
"""

from __future__ import annotations

from itertools import pairwise

from distill.records import Outcome
from distill.verifiers.gold import Gold, over_limit, value_of
from distill.verifiers.guards import RELATION, equation_sides, is_name, refused
from distill.verifiers.latex import canonical
from distill.verifiers.loose import leading_number
from distill.verifiers.numbers import CLOCK, in_base, read_number, same_number
from distill.verifiers.quantities import read_quantity, read_sentence, same_quantity
from distill.verifiers.rendering import as_engine_text, engine_pair
from distill.verifiers.setting import Decision, Setting, correct, incorrect, unverified
from distill.verifiers.words import MEANINGS, is_letter, is_words, plain_words, same_words


def compare(gold: Gold, answer: str, setting: Setting) -> Decision:
    """Decide about one answer, by the layers at the top of this file."""
    too_long = over_limit(answer)
    if too_long:
        return unverified(too_long, "limits")
    return (
        by_string(gold, answer)
        or by_number(gold, answer, strict_percent=setting.strict_percent)
        or by_words(gold, answer)
        or by_clock(gold, answer)
        or by_base(gold, answer)
        or by_guard(gold, answer, setting)
        or by_engine(*engine_pair(gold.text, answer), setting)
    )


def by_string(gold: Gold, answer: str) -> Decision | None:
    """Layer 1: the same text, up to what changes nothing."""
    plain = canonical(answer)
    return correct("string", "string") if plain and plain == gold.canonical else None


def by_number(gold: Gold, answer: str, *, strict_percent: bool = False) -> Decision | None:
    """Layer 2: the same number or quantity, exactly; numbers that rounding may have parted are left to the engine."""
    if gold.quantity is None or ("=" in gold.text and "=" in answer):
        return None
    number = read_number(canonical(answer))
    if number is not None and not (gold.quantity.percent or gold.quantity.unit):
        same, note = same_number(gold.quantity.number, number), ""
    else:
        quantity = read_quantity(value_of(answer)) or read_sentence(answer)
        if quantity is None:
            return None
        same, note = same_quantity(gold.quantity, quantity, strict_percent=strict_percent)
    if same is None:
        return None
    if note.startswith("guard:"):
        return incorrect(note, "number")
    return correct("number", "number", note) if same else incorrect("number", "number")


def by_words(gold: Gold, answer: str) -> Decision | None:
    """Layer 3: words with words, letter with letter; words are no answer to anything else."""
    if gold.is_words or (is_letter(gold.text) and is_letter(answer)):
        reason = "letter" if is_letter(gold.text) else "text"
        return correct(reason, "words") if same_words(gold.text, answer) else incorrect(reason, "words")
    if is_words(answer) and plain_words(answer).casefold() not in MEANINGS:
        return incorrect("text", "words")
    return None


def by_clock(gold: Gold, answer: str) -> Decision | None:
    """Times of day, which the engine reads as a division by zero: 12:00 is not 1:00."""
    first, second = CLOCK.fullmatch(gold.canonical), CLOCK.fullmatch(canonical(answer))
    if first is None or not (first[3] or first[2] == "00"):
        return None  # 3:20 may be a ratio
    if second is None:
        return incorrect("answer_unparsed", "number")
    same_half = not (first[3] and second[3]) or first[3].lower() == second[3].lower()
    same = same_half and (int(first[1]), first[2]) == (int(second[1]), second[2])
    return correct("number", "number") if same else incorrect("number", "number")


def by_base(gold: Gold, answer: str) -> Decision | None:
    """Numbers with a base: compared by value where the answer names its base, else digit by digit."""
    first, second = in_base(gold.canonical), in_base(canonical(answer))
    if first is None and second is None:
        return None
    if second is None:
        same = first is not None and canonical(answer).upper() == first[0]
        return correct("number", "number", "base_omitted") if same else incorrect("number", "number")
    value = int(first[0], first[1]) if first else (gold.quantity.number.value if gold.quantity else None)
    if value is None:
        return None
    return correct("number", "number") if int(*second) == value else incorrect("number", "number")


def by_guard(gold: Gold, answer: str, setting: Setting) -> Decision | None:
    """Layer 5: refuse what the engine would wrongly accept; of an equation of numbers that holds take the last side."""
    plain = canonical(answer)
    name = refused(gold.canonical, plain)
    if name:
        return incorrect(f"guard:{name}", "guard")
    sides = equation_sides(plain)
    if len(sides) < 2 or RELATION.search(gold.canonical) or is_name(sides[0]):
        return None
    for left, right in pairwise(sides):
        decision = by_engine(as_engine_text(left), as_engine_text(right), setting)
        if decision.outcome is not Outcome.CORRECT:
            is_false = decision.outcome is Outcome.INCORRECT or decision.reason == "gold_unparsed"
            return incorrect("guard:equation", "guard") if is_false else decision
    return compare(gold, sides[-1], setting)


def by_engine(gold: str, answer: str, setting: Setting) -> Decision:
    """Layer 4: math-verify, in its own process, on two texts in its own spelling."""
    reply = setting.engine.compare(gold, answer, setting.engine_options)
    if reply.equal:
        return correct("engine", "engine")
    if reply.equal is False:
        return incorrect(reply.reason, "guard" if reply.reason.startswith("guard:") else "engine")
    if reply.reason == "answer_unparsed":
        return incorrect("answer_unparsed", "engine")
    return unverified(reply.reason, "engine")


def by_leading_number(gold: Gold, answer: str) -> Decision | None:
    """For the flexible score: the first number of an answer that begins with one, else its last."""
    found = leading_number(answer)
    quantity = read_quantity(found) if found else None
    if gold.quantity is None or quantity is None or read_quantity(answer) is not None:
        return None
    same, _ = same_quantity(gold.quantity, quantity)
    return correct("number", "number", "leading_number") if same else None
