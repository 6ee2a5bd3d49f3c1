"""Why a gold answer can never be verified, by kind: found before a completion is paid for."""

from __future__ import annotations

from collections.abc import Callable

from distill.records import Problem
from distill.verifiers.code.code import code_gold_problem
from distill.verifiers.kinds.choice import choice_gold_problem
from distill.verifiers.kinds.reasoning_gym import reasoning_gym_gold_problem
from distill.verifiers.kinds.refusal import refusal_gold_problem
from distill.verifiers.kinds.text import text_gold_problem
from distill.verifiers.maths.math import math_gold_problem
from distill.verifiers.maths.number import number_gold_problem
from distill.verifiers.setting import Setting

GOLD_PROBLEMS: dict[str, Callable[[Problem, Setting], str]] = {
    "math": math_gold_problem,
    "number": lambda problem, setting: number_gold_problem(problem, setting.policy),
    "choice": lambda problem, _: choice_gold_problem(problem),
    "text": lambda problem, _: text_gold_problem(problem),
    "bb-sub": lambda problem, _: text_gold_problem(problem),
    "refusal": lambda problem, _: refusal_gold_problem(problem),
    "reasoning-gym": lambda problem, _: reasoning_gym_gold_problem(problem),
    "code": lambda problem, setting: code_gold_problem(problem, setting.limits),
}
"""A reason code, or '' where the gold can be verified; a kind without a line here takes any gold."""
