"""Rewards: a number for every verified completion, and the parts it is the weighted sum of.

AdvDistill (arXiv:2507.00054), equations 2 and 3: ``R = 2 * R_cosine + 1 * R_format``. A part is a function
``(completion, verdict, **options) -> float | None``; None says that the part does not apply to this
completion. A completion that could not be verified has no reward at all, whatever its parts say. The parts
that come with distill stand in ``distill.curate.rewards_parts``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite

from distill.config import RewardPartConfig, RewardsConfig
from distill.errors import DistillError
from distill.options import check_options
from distill.records import Completion, Outcome, Verdict
from distill.registry import REGISTRY, load


@dataclass(frozen=True, slots=True)
class RewardResult:
    """The reward of one completion, and its parts before they are weighted."""

    parts: Mapping[str, float | None]
    total: float | None


Reward = Callable[[Completion, Verdict], RewardResult]


def make_reward(config: RewardsConfig) -> Reward:
    """The composite reward of a recipe: the weighted sum of the parts that apply.

    The total is None where the completion is unverified, or where no part applies.

    Raises:
        DistillError: at once for a part or an option that does not exist, so that no token is bought in vain;
            later for a part that returns nan or infinity.

    >>> reward = make_reward(RewardsConfig())
    >>> short = Completion("4", num_tokens=0)
    >>> reward(short, Verdict(Outcome.CORRECT))  # 2 * 1.0 + 1 * 0.0
    RewardResult(parts={'cosine': 1.0, 'format': 0.0}, total=2.0)
    """
    if not config.parts:
        raise DistillError("rewards.parts is empty", hint=f"name at least one of {', '.join(REGISTRY['rewards'])}")
    functions = {name: _part(name, part) for name, part in config.parts.items()}

    def reward(completion: Completion, verdict: Verdict) -> RewardResult:
        parts = {name: function(completion, verdict) for name, function in functions.items()}
        for name, value in parts.items():
            if value is not None and not isfinite(value):
                raise DistillError(
                    f"the reward part '{name}' returned {value}", hint="a part is a finite number or None"
                )
        weighted = [config.parts[name].weight * value for name, value in parts.items() if value is not None]
        has_total = bool(weighted) and verdict.outcome is not Outcome.UNVERIFIED
        return RewardResult(parts, sum(weighted) if has_total else None)

    return reward


def _part(name: str, config: RewardPartConfig) -> Callable[[Completion, Verdict], float | None]:
    """One part as a function of completion and verdict; its options are checked here, not in the middle of a run."""
    called = config.function or name
    function = load("rewards", called)
    check_options(f"rewards.parts.{name}.options", function, config.options)

    def part(completion: Completion, verdict: Verdict) -> float | None:
        value: float | None = function(completion, verdict, **config.options)
        return value

    if called in REGISTRY["rewards"]:
        # Ours are pure, so a trial finds a bad value now; a user's part may cost a request.
        try:
            for outcome in (Outcome.CORRECT, Outcome.INCORRECT):
                part(Completion("", num_tokens=0), Verdict(outcome))
        except (TypeError, ValueError) as error:
            raise DistillError(f"rewards.parts.{name}.options: {error}", hint="see the options of the part") from None
    return part
