r"""The rules by which others score the same completions, for figures that compare with published ones.

    mmlu_pro  authors            'answer is (X)'; else 'Answer: X'; else the last lone capital. Where none is found
                                 they draw a letter; here there is no answer, so that a score can be repeated
              lm-eval            the first of these patterns
    bbh       authors            what follows the last 'So the answer is', minus one full stop, exactly
              lm-eval            what follows the first 'the answer is', minus its last character, whatever that is
    gsm8k     authors, lm-eval   the number after the first '####', as text
              lm-eval-flexible   the last thing that looks like a number
    gsm_plus  authors            the number after the last '####', else the last one; for the gold 'None' some phrases,
                                 or that no '####' is there
              lm-eval (both)     as for gsm8k: cannot score a gold of 'None'
    bb_sub    authors            as the kind bb-sub, but cut at the first full stop of any kind, and valid is
                                 whatever is not invalid
    agieval   authors            the first capital from A to F, an article at the start of a sentence included

None of them strips thinking or cuts at a problem that the model wrote itself: the harnesses do so by stop strings
while they generate. Every rule is linear in the text; MMLU-Pro's second pattern is quadratic as its authors wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from distill.errors import DistillError

ANSWER_IS = re.compile(r"answer is \(?([A-J])\)?")
ANSWER_COLON = re.compile(r"[aA]nswer:(?=\s*([A-J]))")  # in 'Answer: Answer: C' both count
LONE_CAPITAL = re.compile(r"\b[A-J]\b")
BBH_MARKER = "So the answer is "
THE_ANSWER_IS = re.compile(r"the answer is (.+)")
HASHED = re.compile(r"#### (-?[0-9.,]+)")
NUMBER_LIKE = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
GSM_PLUS_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:/\d+)?")
GSM_PLUS_NONE = re.compile(
    r"(?:do(?:es not|esn't)|not) (?:specify|mention|provide)|can(?:'t| not) provide|do(?:n't| not) know|"
    r"don't have enough information|do not have enough|can(?:not|'t) (?:calculate|determine)|"
    r"missing necessary information|none"
)
BB_SUB_MARKER = "Therefore, the answer is"
BB_SUB_LETTER = re.compile(r"\([a-z]\)")
OUR_RULE = "distill"
MAX_NUMBER = 400  # characters; CPython refuses integer literals above 4,300 digits


@dataclass(frozen=True, slots=True)
class Ruled:
    """What a rule reads as the answer, None where it finds none, and whether it counts it as right."""

    answer: str | None
    correct: bool


Rule = Callable[[str, str, Sequence[str]], Ruled]


def apply_rule(rule: str, benchmark: str, text: str, gold: str, options: Sequence[str] = ()) -> Ruled:
    """Score one completion by somebody else's rule.

    Raises:
        DistillError: this benchmark has no such rule.

    >>> apply_rule("lm-eval", "bbh", "So the answer is (C)", "(C)"), apply_rule("authors", "bbh", "none", "(C)")
    (Ruled(answer='(C', correct=False), Ruled(answer=None, correct=False))
    """
    check_rule(rule, benchmark)
    return RULES[benchmark][rule](text, gold, options)


def check_rule(rule: str, benchmark: str) -> None:
    """Raise a DistillError unless this benchmark can be scored by this rule of others."""
    rules = RULES.get(benchmark, {})
    if rule not in rules:
        known = ", ".join(f"'{name}'" for name in rules) or "none but our own, 'distill'"
        raise DistillError(f"no rule '{rule}' for '{benchmark}'", hint=f"known for it: {known}")


def rules_for(benchmark: str) -> tuple[str, ...]:
    """The names of the rules by which a benchmark can be scored beside our own.

    >>> rules_for("bbh"), rules_for("arithmetic")
    (('authors', 'lm-eval'), ())
    """
    return tuple(RULES.get(benchmark, {}))


def mmlu_pro_level(text: str) -> tuple[str | None, str]:
    """The letter by MMLU-Pro's authors, and by which of their three patterns: 'l1', 'l2', 'l3' or 'none'.

    >>> mmlu_pro_level("The answer is (C)."), mmlu_pro_level("Answer: A or answer: B"), mmlu_pro_level("So B or C")
    (('C', 'l1'), ('B', 'l2'), ('C', 'l3'))
    """
    found = ANSWER_IS.search(text)
    if found:
        return found[1], "l1"
    marked = list(ANSWER_COLON.finditer(text))
    if marked:
        line_end = text.find("\n", marked[0].start())
        on_line = [match for match in marked if line_end < 0 or match.start() < line_end]
        return on_line[-1][1], "l2"  # theirs begins with '.*': the last of the first line that has one
    letters = LONE_CAPITAL.findall(text)
    return (letters[-1], "l3") if letters else (None, "none")


def mmlu_pro_authors(text: str, gold: str, options: Sequence[str]) -> Ruled:  # noqa: ARG001 - all rules alike
    """MMLU-Pro by its authors, without the guess."""
    letter, _ = mmlu_pro_level(text)
    return Ruled(letter, letter == gold)


def mmlu_pro_lm_eval(text: str, gold: str, options: Sequence[str]) -> Ruled:  # noqa: ARG001
    """MMLU-Pro by lm-eval: only the first pattern."""
    found = ANSWER_IS.search(text)
    letter = found[1] if found else None
    return Ruled(letter, letter == gold)


def bbh_authors(text: str, gold: str, options: Sequence[str]) -> Ruled:  # noqa: ARG001
    """BIG-Bench Hard by its authors: exact text."""
    _, marker, answer = text.rpartition(BBH_MARKER)
    if not marker:
        return Ruled(None, correct=False)
    answer = answer.strip().removesuffix(".")
    return Ruled(answer, answer == gold)


def bbh_lm_eval(text: str, gold: str, options: Sequence[str]) -> Ruled:  # noqa: ARG001
    """BIG-Bench Hard by lm-eval, whose pattern ``(?<=the answer is )(.*)(?=.)`` drops the last character."""
    found = THE_ANSWER_IS.search(text)
    answer = found[1][:-1].strip() if found else None
    return Ruled(answer, answer == gold)


def gsm8k_authors(text: str, gold: str, options: Sequence[str]) -> Ruled:  # noqa: ARG001
    """GSM8K by its authors: the first number after '####', equal as text without commas."""
    found = HASHED.search(text)
    answer = found[1].strip().replace(",", "") if found else None
    return Ruled(answer, answer == gold.strip().replace(",", ""))


def gsm8k_lm_eval(text: str, gold: str, options: Sequence[str]) -> Ruled:  # noqa: ARG001
    """GSM8K by lm-eval's strict match: as its authors, but a final full stop is dropped."""
    found = HASHED.search(text)
    return _as_lm_eval(found[1] if found else None, gold)


def gsm8k_lm_eval_flexible(text: str, gold: str, options: Sequence[str]) -> Ruled:  # noqa: ARG001
    """GSM8K by lm-eval's flexible extract: the last run of digits, commas, full stops and dollar signs."""
    numbers = NUMBER_LIKE.findall(text)
    return _as_lm_eval(numbers[-1].strip() if numbers else None, gold)


def _as_lm_eval(answer: str | None, gold: str) -> Ruled:
    """Equal as lm-eval compares: without commas, dollar signs and one final full stop."""
    sides = [re.sub(r"[,$]", "", side).removesuffix(".").lower() for side in (answer or "[invalid]", gold)]
    return Ruled(answer, sides[0] == sides[1])


def gsm_plus_authors(text: str, gold: str, options: Sequence[str]) -> Ruled:  # noqa: ARG001
    """GSM-Plus by its authors; numbers are compared exactly, where theirs go through floats and sympy."""
    plain = text.rstrip(".").replace(",", "")
    if gold == "None":
        says_none = bool(GSM_PLUS_NONE.search(plain.lower())) or "####" not in plain
        return Ruled("None" if says_none else "", says_none)
    plain = plain.partition("Question")[0]
    hashed = re.findall(r"####(.*)", plain)[-1:]
    numbers = GSM_PLUS_NUMBER.findall(hashed[0])[:1] if hashed else []
    numbers = numbers or GSM_PLUS_NUMBER.findall(plain)[-1:]
    if not numbers:
        return Ruled(None, correct=False)
    golds = GSM_PLUS_NUMBER.findall(gold.replace(",", ""))[:1]
    return Ruled(numbers[0], bool(golds) and _value(numbers[0]) == _value(golds[0]))


def _value(number: str) -> Fraction | str:
    if len(number) > MAX_NUMBER:
        return number
    over, _, under = number.partition("/")
    return Fraction(over) / int(under) if under and int(under) else Fraction(over) if not under else number


def bb_sub_authors(text: str, gold: str, options: Sequence[str]) -> Ruled:  # noqa: ARG001
    """BB-Sub by its authors, after their first marker; a text without it is wrong."""
    _, marker, answer = text.rpartition(BB_SUB_MARKER)
    if not marker:
        return Ruled(None, correct=False)
    answer = answer.partition(".")[0].strip()
    first, second = (side.strip().rstrip(".").lower().replace("（", "(").replace("）", ")") for side in (gold, answer))
    if first in {"valid", "invalid"}:
        return Ruled(answer, ("invalid" in first) == ("invalid" in second))
    letter, said = BB_SUB_LETTER.search(first), BB_SUB_LETTER.search(f"({second})" if len(second) == 1 else second)
    if letter and said:
        return Ruled(answer, letter.group() == said.group())
    contents = [side.split(")")[1] if BB_SUB_LETTER.search(side) else side for side in (first, second)]
    plain = [content.strip(".").strip() for content in contents]
    return Ruled(answer, bool(plain[1]) and len(second) > 1 and plain[0] == plain[1])


def agieval_authors(text: str, gold: str, options: Sequence[str]) -> Ruled:  # noqa: ARG001
    """AGIEval's zero-shot rule for questions with one letter."""
    letter = next((symbol for symbol in text if symbol in "ABCDEF"), None)
    return Ruled(letter, letter == gold)


RULES: dict[str, dict[str, Rule]] = {
    "mmlu_pro": {"authors": mmlu_pro_authors, "lm-eval": mmlu_pro_lm_eval},
    "bbh": {"authors": bbh_authors, "lm-eval": bbh_lm_eval},
    "gsm8k": {"authors": gsm8k_authors, "lm-eval": gsm8k_lm_eval, "lm-eval-flexible": gsm8k_lm_eval_flexible},
    "gsm_plus": {"authors": gsm_plus_authors, "lm-eval": gsm8k_lm_eval, "lm-eval-flexible": gsm8k_lm_eval_flexible},
    "bb_sub": {"authors": bb_sub_authors},
    "agieval": {"authors": agieval_authors},
}
