"""Distil reasoning from a large language model into a small one.

The names below are stable. They load when they are first used, so importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0.dev0"

_PUBLIC = {  # name -> module, or module:attribute where the attribute is called differently
    "CurateConfig": "distill.config",
    "DistillError": "distill.errors",
    "EvalConfig": "distill.config",
    "TrainConfig": "distill.config",
    "compare_reports": "distill.evals.compare",
    "curate_dataset": "distill.curate.pipeline",
    "evaluate": "distill.evals.run",
    "inspect_dataset": "distill.curate.stats:dataset_stats",
    "load_groups": "distill.curate.dataset",
    "merge_adapter": "distill.train.merging",
    "score_run": "distill.curate.pipeline",
    "train_student": "distill.train.loop",
    "verify": "distill.verifiers",
}

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604 - every name is a text


def __getattr__(name: str) -> Any:
    """The public function or class called ``name``, imported now."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'distill' has no attribute '{name}'")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)
