"""One verdict step by step, for a person who wonders about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from distill.errors import DistillError
from distill.records import Outcome, Verdict
from distill.registry import REGISTRY
from distill.verifiers.judge import both_readings, verify_with
from distill.verifiers.maths.gold import Gold, read_gold
from distill.verifiers.maths.layers import LAYERS
from distill.verifiers.reading.extract import ANSWER, END_THINK, Region, answer_region
from distill.verifiers.rules import RULES, Ruled, apply_rule
from distill.verifiers.setting import Decision, Setting

REGION_CHARACTERS = 400
TIERS = {
    "json": "the field 'answer' of a JSON object",
    "boxed": "the last complete box",
    "marker": "what follows the last marker, such as 'The answer is'",
    "tagged": "all that stands in <answer>",
    "bare": "the region is nothing but an answer",
    "sentence": "a sentence says which option is right",
    "loose": "nothing is stated; the last number or formula, for the flexible score only",
    "fenced": "the last fenced block of code",
    "whole": "the whole text is judged",
}
REASONS = {
    "string": "the same text, up to spelling that changes nothing",
    "number": "compared as exact numbers",
    "letter": "compared as letters",
    "text": "compared as words",
    "engine": "math-verify's word",
    "value": "the two have different values at one point, so that they cannot be equal",
    "answer_unparsed": "the answer is none that can be compared with the gold",
    "no_marker": "no answer is stated anywhere",
    "empty": "nothing is written where the answer should stand",
    "truncated": "the length limit came before the answer",
    "think_unclosed": "the thinking never ends",
    "ambiguous": "different answers are stated",
    "degenerate": "the text repeats itself to its end",
    "refusal": "the completion refuses, in full or in part",
    "compliance": "the completion does what it was asked",
    "unknown": "nobody can tell what the completion does",
    "abstention": "the question has no answer, and the completion must say so",
    "tests": "all tests passed",
    "test_failed": "a test failed",
    "runtime_error": "the code raised an error",
    "syntax_error": "the code is no Python",
    "output": "the code wrote more than it may",
    "bad_reply": "the code replied something that cannot be read",
    "no_code": "no code is written",
    "no_isolation": "the network cannot be taken away here, so that the code was not run",
    "custom": "the word of your own verifier",
    "verifier_error": "your own verifier failed",
    "own_score": "the word of the task's own scorer",
    "gold_unparsed": "the gold answer cannot be read, so that no answer can be verified",
    "too_long": "too long, too deeply nested, or a number of too many digits",
    "timeout": "the check took longer than the deadline and was ended",
    "memory": "the check needed more memory than it may have",
    "worker_died": "the process of the check ended before it replied",
    "engine_error": "math-verify failed on it",
}
NOTES = {
    "unit_omitted": "a unit is missing on one side",
    "unit_differs": "the units differ",
    "percent_omitted": "the percent sign is missing on one side",
    "base_omitted": "the number's base is not named",
    "modulus_omitted": "the modulus is not named on one side",
    "leading_number": "only one number of it was read",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way to a verdict."""

    name: str
    found: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a verdict came about."""

    steps: tuple[Step, ...]
    verdict: Verdict
    """The strict one, which curation and accuracy use."""
    flexible: Verdict
    """With a loosely stated answer taken, too."""
    rules: Mapping[str, Ruled] = field(default_factory=dict)
    """What the rules of others read, and whether they count it as right."""


def explain(
    text: str, gold: str, kind: str, setting: Setting, *, rules: Sequence[str] = (), benchmark: str = ""
) -> Explanation:
    """Judge a completion and tell how: what was read, where the answer stood, which layer decided.

    Args:
        rules: by which it is scored beside, such as 'authors' and 'lm-eval'; 'distill' is always among them.
        benchmark: the one that these rules are for.

    Raises:
        DistillError: no such verifier, or no such rule.
    """
    ruled = {rule: _ruled(rule, benchmark, text, gold, setting) for rule in rules if rule != "distill"}
    strict, flexible = both_readings(
        lambda flexible: verify_with(kind, text, gold, replace(setting, flexible=flexible))
    )
    steps: list[Step] = []
    if kind in REGISTRY["verifiers"]:
        region = answer_region(text, finish_reason=setting.finish_reason, think_opened=setting.think_opened)
        steps += [*_region_steps(text, region), _answer_step(strict, flexible)]
        if kind == "math":
            steps += _maths_steps(read_gold(gold), strict.answer, setting)
    steps.append(Step("verdict", f"{strict.outcome}: {meaning(strict.reason)}"))
    if flexible != strict:
        steps.append(Step("flexible", f"{flexible.outcome}: {meaning(flexible.reason)}, read '{flexible.answer}'"))
    for rule, said in ruled.items():
        read = "no answer" if said.answer is None else f"'{said.answer}'"
        steps.append(Step(f"rule {rule}", f"{'correct' if said.correct else 'incorrect'}: reads {read}"))
    return Explanation(tuple(steps), strict, flexible, ruled)


def _ruled(rule: str, benchmark: str, text: str, gold: str, setting: Setting) -> Ruled:
    if not benchmark:
        raise DistillError(f"the rule '{rule}' is a benchmark's", hint=f"name it by --benchmark: {', '.join(RULES)}")
    return apply_rule(rule, benchmark, text, gold, setting.options)


def meaning(reason: str) -> str:
    """A reason code in words.

    >>> meaning("number:unit_omitted"), meaning("guard:multiset")
    ('compared as exact numbers; a unit is missing on one side', "refused by the guard 'multiset'")
    """
    code, _, note = reason.partition(":")
    if code == "guard":
        return f"refused by the guard '{note}'"
    said = REASONS.get(code, code)
    return f"{said}; {NOTES.get(note, note)}" if note else said


def _region_steps(text: str, region: Region) -> Iterator[Step]:
    thinking = text.rfind(END_THINK)
    if thinking >= 0:
        yield Step("thinking", f"{thinking + len(END_THINK):,} characters up to the last {END_THINK} are not read")
    if region.no_answer:
        yield Step("region", f"none: {meaning(region.no_answer)}")
        return
    if region.cut:
        yield Step("cut", "what follows a template token or the model's own next problem is not read")
    where = f"inside the last {ANSWER}" if region.tagged else "the rest"
    shown = region.text.strip()
    yield Step("region", f"{where}: {'…' * (len(shown) > REGION_CHARACTERS)}{shown[-REGION_CHARACTERS:]}")


def _answer_step(strict: Verdict, flexible: Verdict) -> Step:
    stated = strict if strict.answer is not None else flexible
    if stated.answer is None:
        return Step("answer", "none")
    tier = stated.tier.partition(":")[0]
    return Step("answer", f"'{stated.answer}' ({TIERS.get(tier, tier)})")


def _maths_steps(gold: Gold, answer: str | None, setting: Setting) -> Iterator[Step]:
    """How the gold is read, and what each layer says until one decides."""
    yield Step("gold", f"'{gold.text}', read as {_reading(gold)}")
    if answer is None or gold.problem:
        return
    for name, layer in LAYERS.items():
        decision = layer(gold, answer, setting)
        yield Step(f"layer {name}", _said(decision))
        if decision is not None:
            return


def _reading(gold: Gold) -> str:
    if gold.problem:
        return f"nothing: {meaning(gold.problem)}"
    if gold.quantity is not None:
        return f"the number {gold.quantity.number.value}"
    if gold.is_words:
        return "words"
    return "a list" if gold.has_parts else "a formula"


def _said(decision: Decision | None) -> str:
    if decision is None:
        return "leaves it open"
    mark = "equal" if decision.outcome is Outcome.CORRECT else decision.outcome.value
    return f"{mark}: {meaning(decision.reason)}"
