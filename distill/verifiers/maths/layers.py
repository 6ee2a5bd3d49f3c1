r"""The layers that compare one mathematical answer with a gold, from the cheapest to the engine.

    0 limits    too long, too deep, too many digits: unverified
    1 string    equal after harmless rewriting: correct
    2 number    both are one number, with or without unit or percent sign: compared exactly
    4 formula   plain formulas whose values are far apart at one point, before all that looks for words and lists
    3 typed     words, letters, times of day, numbers with a base, and lists of numbers are compared as such
    5 guards    shapes that the engine would wrongly accept
    4 value     the same of all others
    4 engine    math-verify in a killable worker, both sides in a box, the gold first

The guards stand before the engine because they need none; the one on magnitudes sits inside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from distill.records import Outcome
from distill.verifiers.maths.calculate import calculate
from distill.verifiers.maths.gold import Gold, over_limit, read_gold, value_of
from distill.verifiers.maths.guards import RELATION, equation_sides, is_name, is_sum_of_names, refused
from distill.verifiers.maths.latex import canonical, spaced
from distill.verifiers.maths.lists import is_ordered, read_list, same_numbers, same_ratio
from distill.verifiers.maths.numbers import CLOCK, in_base, modulo, read_number, same_number
from distill.verifiers.maths.quantities import read_quantity, same_quantity, split_unit
from distill.verifiers.maths.refute import is_refuted
from distill.verifiers.maths.rendering import as_engine_text, engine_pair
from distill.verifiers.maths.results import read_answer
from distill.verifiers.maths.words import MEANINGS, is_letter, is_words, plain_words, same_words
from distill.verifiers.policy import Policy
from distill.verifiers.reading.loose import leading_number
from distill.verifiers.setting import Decision, Setting, correct, engine_options, incorrect, unverified

USUAL = Policy()
# Formulas without words and without units (5 m).
PLAIN = re.compile(
    r"(?:[-+*/^(){}\[\].,&\d ]|\\(?:frac|sqrt|pi|cdot|times|infty)(?![A-Za-z])|\\[{}\\]"
    r"|\\(?:begin|end)\{[pb]?matrix\}|(?<![\d})] )[A-Za-z](?![A-Za-z]))+"
)
LIST = re.compile(r"[,&\[\]]|\\[{}\\b]")


def compare(gold: Gold, answer: str, setting: Setting) -> Decision:
    """Decide about one answer: the first of ``LAYERS`` that says anything, and the engine always does."""
    for layer in LAYERS.values():
        decision = layer(gold, answer, setting)
        if decision is not None:
            return decision
    raise AssertionError("the last layer decides")


def by_limits(_gold: Gold, answer: str, _setting: Setting) -> Decision | None:
    """Layer 0: what is too long, too deep, or has too many digits for any other."""
    too_long = over_limit(answer)
    return unverified(too_long, "limits") if too_long else None


def by_string(gold: Gold, answer: str, _setting: Setting) -> Decision | None:
    """Layer 1: the same text, up to what changes nothing."""
    plain = canonical(answer)
    return correct("string", "string") if plain and plain == gold.canonical else None


def by_number(gold: Gold, answer: str, setting: Setting) -> Decision | None:
    """Layer 2: the same number or quantity, exactly; numbers that rounding may have parted are left to the engine."""
    if gold.quantity is None or ("=" in gold.text and "=" in answer):
        return None
    number = read_number(canonical(answer))
    if number is not None and not (gold.quantity.percent or gold.quantity.unit):
        same, note = same_number(gold.quantity.number, number, setting.policy), ""
    else:
        quantity = read_answer(answer)
        if quantity is None:
            return None
        same, note = same_quantity(gold.quantity, quantity, setting.policy)
    if same is None:
        return None
    if note.startswith("guard:"):
        return incorrect(note, "number")
    return correct("number", "number", note) if same else incorrect("number", "number")


def by_formula(gold: Gold, answer: str, setting: Setting) -> Decision | None:
    """As ``by_value``, for a plain formula and another or a list: no layer between says anything of such a pair."""
    first, second = spaced(gold.text), spaced(answer)
    if not (PLAIN.fullmatch(first) and PLAIN.fullmatch(second)) or (LIST.search(first) and LIST.search(second)):
        return None
    is_label = len(first) <= len("(A)") and is_letter(first) and is_letter(second)
    if is_label or _is_wide(setting.policy):
        return None
    return incorrect("value", "value") if is_refuted(first, second) else None


def by_words(gold: Gold, answer: str, setting: Setting) -> Decision | None:
    """Layer 3: words with words, letter with letter; words are no answer to anything else."""
    if not setting.policy.guard_words:
        return None
    meaning, other = (MEANINGS.get(plain_words(text).casefold()) for text in (gold.text, answer))
    if meaning is not None and (meaning == other or not is_words(answer)):
        return correct("text", "words") if meaning == other else None
    if gold.is_words or (is_letter(gold.text) and is_letter(answer)):
        reason = "letter" if is_letter(gold.text) else "text"
        same = same_words(gold.text, answer, in_order=setting.policy.list_order == "gold")
        return correct(reason, "words") if same else incorrect(reason, "words")
    if is_words(answer) and plain_words(answer).casefold() not in MEANINGS:
        return incorrect("text", "words")
    return None


def by_clock(gold: Gold, answer: str, _setting: Setting) -> Decision | None:
    """Times of day, which the engine reads as a division by zero: 12:00 is not 1:00; and ratios of three numbers."""
    same = same_ratio(gold.canonical, canonical(answer))
    if same is not None:
        return correct("number", "number") if same else incorrect("number", "number")
    first, second = CLOCK.fullmatch(plain_words(gold.text)), CLOCK.fullmatch(plain_words(answer))
    if first is None or not (first[3] or first[2] == "00" or (second and second[3])):
        return None  # 3:20 may be a ratio
    if second is None:
        return incorrect("answer_unparsed", "number")
    same_half = not (first[3] and second[3]) or first[3].lower() == second[3].lower()
    same = same_half and (int(first[1]), first[2]) == (int(second[1]), second[2])
    return correct("number", "number") if same else incorrect("number", "number")


def by_base(gold: Gold, answer: str, setting: Setting) -> Decision | None:
    """Numbers with a base: compared by value where the answer names its base, else digit by digit."""
    first, second = in_base(gold.canonical), in_base(canonical(answer))
    if (first is None and second is None) or not setting.policy.guard_base:
        return None
    if second is None:
        same = first is not None and canonical(answer).upper() == first[0]
        return correct("number", "number", "base_omitted") if same else incorrect("number", "number")
    value = int(first[0], first[1]) if first else (gold.quantity.number.value if gold.quantity else None)
    if value is None:
        return None
    return correct("number", "number") if int(*second) == value else incorrect("number", "number")


def by_modulus(gold: Gold, answer: str, _setting: Setting) -> Decision | None:
    """Congruences: compared as such where both name a modulus, else by the residue as it is written."""
    first, second = modulo(gold.canonical), modulo(canonical(value_of(answer)))
    if first and second:
        same = first[1] == second[1] and (first[0] - second[0]) % first[1] == 0
        return correct("number", "number") if same else incorrect("number", "number")
    written, other = (first, read_quantity(value_of(answer))) if first else (second, gold.quantity)
    if written is None or other is None:
        return None
    same = other.number.value == written[0]
    return correct("number", "number", "modulus_omitted") if same else incorrect("number", "number")


def by_list(gold: Gold, answer: str, setting: Setting) -> Decision | None:
    """Lists of numbers, and lists whose order counts, part by part: to the engine every list is a set."""
    same, guard = same_numbers(gold.text, answer, setting.policy)
    if same is not None:
        return correct("number", "number") if same else incorrect(guard or "number", "guard" if guard else "number")
    first, second = read_list(gold.text), read_list(answer)
    if first is None or second is None or first.brackets:
        return None
    if second.names or not is_ordered(first, second, setting.policy):
        return None
    if len(first.parts) != len(second.parts):
        return incorrect("number", "number")
    decision = None
    for one, other in zip(first.parts, second.parts, strict=True):
        decision = compare(read_gold(one), other, setting)
        if decision.outcome is not Outcome.CORRECT:
            break
    return decision


def by_unit(gold: Gold, answer: str, setting: Setting) -> Decision | None:
    """Formulas with a unit: compared without it, as the engine does, unless both have one and the two differ."""
    (first, unit, known), (second, other, other_known) = split_unit(gold.text), split_unit(answer)
    if not (unit or other):
        return None
    if known and other_known and unit != other and setting.policy.guard_unit:
        return incorrect("guard:unit", "guard")
    decision = compare(read_gold(first), second, setting)
    if decision.outcome is Outcome.CORRECT and bool(unit) != bool(other) and ":" not in decision.reason:
        return correct(decision.reason, decision.layer, "unit_omitted")
    return decision


def by_guard(gold: Gold, answer: str, setting: Setting) -> Decision | None:
    """Layer 5: refuse what the engine would wrongly accept; of an equation of numbers that holds take the last side."""
    plain = canonical(answer)
    name = refused(gold.canonical, plain, setting.policy)
    if name:
        return incorrect(f"guard:{name}", "guard")
    sides = equation_sides(plain) if setting.policy.guard_equation else ()
    if len(sides) < 2 or RELATION.search(gold.canonical) or is_name(sides[0]):
        return None
    if is_sum_of_names(sides[0]):
        return compare(gold, plain.partition("=")[2], setting)
    for left, right in pairwise(sides):
        if (value := calculate(left)) is not None and value == calculate(right):
            continue
        decision = ask_engine(as_engine_text(left), as_engine_text(right), setting)
        if decision.outcome is not Outcome.CORRECT:
            is_false = decision.outcome is Outcome.INCORRECT or decision.reason == "gold_unparsed"
            return incorrect("guard:equation", "guard") if is_false else decision
    return compare(gold, sides[-1], setting)


def by_value(gold: Gold, answer: str, setting: Setting) -> Decision | None:
    """Most wrong formulas, without the engine; not where more than usual may pass for the same."""
    if _is_wide(setting.policy):
        return None
    return incorrect("value", "value") if is_refuted(*engine_pair(gold.text, answer, setting.policy)) else None


def _is_wide(policy: Policy) -> bool:
    """True where more than usual may pass for the same."""
    is_wide = policy.float_rounding < USUAL.float_rounding or policy.relative_tolerance > USUAL.relative_tolerance
    return is_wide or not (policy.guard_magnitude and policy.guard_words and policy.strict_engine)


def by_engine(gold: Gold, answer: str, setting: Setting) -> Decision:
    """Layer 4: math-verify, in its own process."""
    return ask_engine(*engine_pair(gold.text, answer, setting.policy), setting)


LAYERS: dict[str, Callable[[Gold, str, Setting], Decision | None]] = {
    "limits": by_limits,
    "string": by_string,
    "number": by_number,
    "formula": by_formula,
    "words": by_words,
    "clock": by_clock,
    "base": by_base,
    "modulus": by_modulus,
    "list": by_list,
    "unit": by_unit,
    "guards": by_guard,
    "value": by_value,
    "engine": by_engine,
}


def ask_engine(gold: str, answer: str, setting: Setting) -> Decision:
    """What math-verify says about two texts in its own spelling."""
    reply = setting.engine.compare(gold, answer, engine_options(setting.policy))
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
