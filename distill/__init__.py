"""Distil reasoning from a large language model into a small one.

The names below are stable. They load when they are first used, so importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # so that a type checker knows what the names are
    from distill.config import CurateConfig as CurateConfig
    from distill.config import EvalConfig as EvalConfig
    from distill.config import TrainConfig as TrainConfig
    from distill.curate.dataset import load_groups as load_groups
    from distill.curate.pipeline import curate_dataset as curate_dataset
    from distill.curate.pipeline import score_run as score_run
    from distill.curate.stats import dataset_stats
    from distill.curate.trl_reward import as_trl_reward as as_trl_reward
    from distill.errors import DistillError as DistillError
    from distill.evals.compare import compare_reports as compare_reports
    from distill.evals.run import evaluate as evaluate
    from distill.publish.dataset import publish_dataset as publish_dataset
    from distill.publish.export import export_dataset as export_dataset
    from distill.publish.model import ModelOptions as ModelOptions
    from distill.publish.model import publish_model as publish_model
    from distill.train.loop import train_student as train_student
    from distill.train.merging import merge_adapter as merge_adapter
    from distill.verifiers import verify as verify

    inspect_dataset = dataset_stats

__version__ = "0.1.0.dev0"

_PUBLIC = {  # name -> module, or module:attribute where the attribute is called differently
    "CurateConfig": "distill.config",
    "DistillError": "distill.errors",
    "EvalConfig": "distill.config",
    "ModelOptions": "distill.publish.model",
    "TrainConfig": "distill.config",
    "as_trl_reward": "distill.curate.trl_reward",
    "compare_reports": "distill.evals.compare",
    "curate_dataset": "distill.curate.pipeline",
    "evaluate": "distill.evals.run",
    "export_dataset": "distill.publish.export",
    "inspect_dataset": "distill.curate.stats:dataset_stats",
    "load_groups": "distill.curate.dataset",
    "merge_adapter": "distill.train.merging",
    "publish_dataset": "distill.publish.dataset",
    "publish_model": "distill.publish.model",
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
