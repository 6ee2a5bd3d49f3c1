"""Verifiers: a completion's text and a gold answer in, a verdict out; one file per kind of answer.

The names load when they are first used: a worker process, which is started again whenever a check
was ended, needs none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.verifiers.judge import Judge, gold_problem, open_judge, verify
    from distill.verifiers.rules import apply_rule, rules_for

__all__ = ["Judge", "apply_rule", "gold_problem", "open_judge", "rules_for", "verify"]


def __getattr__(name: str) -> Any:
    """The public function or class called ``name``, imported now."""
    if name not in __all__:
        raise AttributeError(f"module 'distill.verifiers' has no attribute '{name}'")
    module = "rules" if name in {"apply_rule", "rules_for"} else "judge"
    return getattr(importlib.import_module(f"distill.verifiers.{module}"), name)
