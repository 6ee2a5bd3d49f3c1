"""What a verifier may need to know beside a completion's text and the gold, and how it says what it decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from distill.records import FinishReason, Outcome, Verdict
from distill.verifiers.limits import Limits
from distill.verifiers.policy import Policy
from distill.verifiers.reading.extract import Region, answer_region
from distill.verifiers.reading.refusal_signs import BIAS, signs
from distill.verifiers.reading.statements import Statement
from distill.verifiers.workers.engine import Engine, EngineOptions, shared_engine


@dataclass(frozen=True, slots=True)
class Setting:
    """How one completion is to be read and judged."""

    options: tuple[str, ...] = ()
    """The texts of the choices, in the order of their letters."""
    markers: tuple[str, ...] = ()
    """Texts after which completions of this source state their answer."""
    finish_reason: FinishReason = "stop"
    think_opened: bool = False
    """The prompt ended inside an open <think>."""
    flexible: bool = False
    """Also take a loosely stated answer: for the flexible score that is published beside the strict one."""
    policy: Policy = Policy()  # noqa: RUF009 - frozen
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    engine: Engine = field(default_factory=shared_engine)


@lru_cache(maxsize=64)
def engine_options(policy: Policy) -> EngineOptions:
    """What of a policy the engine applies."""
    return EngineOptions(
        float_rounding=policy.float_rounding,
        set_relations=policy.set_relations,
        strict=policy.strict_engine,
        guard_magnitude=policy.guard_magnitude,
        relative_tolerance=policy.relative_tolerance,
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """What a layer decided about an answer, and why."""

    outcome: Outcome
    reason: str
    layer: str = ""


def correct(reason: str, layer: str, note: str = "") -> Decision:
    """Correct; a note such as 'unit_omitted' stands after the reason.

    >>> correct("number", "number", "unit_omitted").reason
    'number:unit_omitted'
    """
    return Decision(Outcome.CORRECT, f"{reason}:{note}" if note else reason, layer)


def incorrect(reason: str, layer: str) -> Decision:
    """Incorrect, for a reason code."""
    return Decision(Outcome.INCORRECT, reason, layer)


def unverified(reason: str, layer: str) -> Decision:
    """Nobody can tell, for a reason code."""
    return Decision(Outcome.UNVERIFIED, reason, layer)


def no_answer(reason: str, region: Region) -> Verdict:
    """The completion states no answer that could be judged; a loop or a refusal is a better reason than no marker."""
    if region.degenerate:
        reason = "degenerate"
    elif reason == "no_marker" and BIAS + sum(signs(region.text).values()) > 0:
        reason = "refusal"
    return Verdict(Outcome.NO_ANSWER, reason=reason, tier="cut" if region.cut else "")


def verdict(decision: Decision, statement: Statement, region: Region) -> Verdict:
    """The decision about a statement, with where it stood; text that was cut off after it is noted at the tier."""
    tier = f"{statement.tier}:cut" if region.cut else statement.tier
    return Verdict(decision.outcome, statement.answer, decision.reason, tier, decision.layer)


def judge_statement(
    text: str, setting: Setting, find: Callable[[Region], Statement | None], decide: Callable[[str], Decision]
) -> Verdict:
    """Find the region, then the statement in it, then decide about its answer; or say why there is none."""
    region = answer_region(text, finish_reason=setting.finish_reason, think_opened=setting.think_opened)
    if region.no_answer:
        return no_answer(region.no_answer, region)
    statement = find(region)
    if statement is None or (region.degenerate and statement.tier == "loose"):
        return no_answer("truncated" if region.truncated else "no_marker", region)
    if not statement.answer:
        return no_answer("empty", region)
    return verdict(decide(statement.answer), statement, region)
