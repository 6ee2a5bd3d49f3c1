"""Every replaceable part by name: one literal table, nothing registers itself by being imported.

To add a part write one function or class in one file and one line here. Users need not touch this
file: wherever a name is expected, ``pkg.module:attribute`` is taken as well.
"""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from typing import Any

from distill.errors import DistillError

REGISTRY: dict[str, dict[str, str]] = {
    "verifiers": {
        "math": "distill.verifiers.maths.math:verify_math",
        "number": "distill.verifiers.maths.number:verify_number",
        "choice": "distill.verifiers.kinds.choice:verify_choice",
        "text": "distill.verifiers.kinds.text:verify_text",
        "refusal": "distill.verifiers.kinds.refusal:verify_refusal",
        "code": "distill.verifiers.code.code:verify_code",
        "bb-sub": "distill.verifiers.kinds.bb_sub:verify_bb_sub",
        "reasoning-gym": "distill.verifiers.kinds.reasoning_gym:verify_reasoning_gym",
        "format": "distill.verifiers.kinds.format:verify_format",
    },
    "rewards": {
        "cosine": "distill.curate.rewards_parts:cosine_reward",
        "format": "distill.curate.rewards_parts:format_reward",
        "accuracy": "distill.curate.rewards_parts:accuracy_reward",
        "reasoning_accuracy": "distill.curate.rewards_parts:reasoning_accuracy_reward",
        "repetition": "distill.curate.rewards_parts:repetition_reward",
        "overlong": "distill.curate.rewards_parts:overlong_reward",
    },
    "filters": {
        "any_correct": "distill.curate.filters:any_correct",
        "pass_rate": "distill.curate.filters:pass_rate",
        "length": "distill.curate.filters:length",
        "repetition": "distill.curate.filters:repetition",
        "language": "distill.curate.filters:language",
        "regex": "distill.curate.filters:regex",
    },
    "backends": {
        "hf": "distill.generate.hf:HFBackend",
        "recorded": "distill.generate.recorded:RecordedBackend",
        "server": "distill.generate.server:ServerBackend",
        "vllm": "distill.generate.vllm:VLLMBackend",
    },
    "judges": {
        "refusal": "distill.evals.safety_judges:refusal_judge",
        "walledguard": "distill.evals.safety_judges:walledguard_judge",
    },
    "methods": {
        "sft": "distill.train.losses.sft:SFT",
        "sft-all-correct": "distill.train.losses.sft:SFTAllCorrect",
        "advdistill": "distill.train.losses.advdistill:AdvDistill",
        "slowed": "distill.train.losses.slowed:SLowED",
        "step-by-step": "distill.train.losses.two_tasks:StepByStep",
        "mt-cot": "distill.train.losses.two_tasks:MTCoT",
        "cascod": "distill.train.losses.two_tasks:CasCoD",
    },
    "trackers": {
        "tensorboard": "distill.train.trackers:TensorBoard",
        "wandb": "distill.train.trackers:WandB",
        "trackio": "distill.train.trackers:Trackio",
    },
}


def did_you_mean(name: str, known: list[str], also: str = "") -> str:
    """A hint that names the nearest known name, or all of them.

    Args:
        also: what else may be named.

    >>> did_you_mean("cosin", ["cosine", "format"])
    "did you mean 'cosine'?"
    >>> did_you_mean("zzz", ["cosine", "format"])
    'known: cosine, format'
    >>> did_you_mean("cosin", ["cosine"], "a function of your own"), did_you_mean("zzz", ["cosine"], "a function")
    ("did you mean 'cosine'? Or name a function of your own", 'known: cosine; or name a function')
    """
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean '{close[0]}'?" + (f" Or name {also}" if also else "")
    return "known: " + ", ".join(known) + (f"; or name {also}" if also else "")


@cache
def load(kind: str, name: str) -> Any:
    """The part called ``name`` in the table ``kind``, or whatever ``pkg.module:attribute`` points to.

    Raises:
        DistillError: no such name, module or attribute.
    """
    target = REGISTRY[kind].get(name, name)
    if ":" not in target:
        known = list(REGISTRY[kind])
        hint = did_you_mean(name, known, "a part of your own, 'pkg.module:attribute'")
        raise DistillError(f"no {kind.removesuffix('s')} is called '{name}'", hint=hint)
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the user's module exists and fails on an import of its own: that traceback helps
        raise DistillError(
            f"module '{module_name}' of the {kind.removesuffix('s')} '{name}' cannot be imported",
            hint="run from the folder that holds it, or add that folder to PYTHONPATH",
        ) from None
    except AttributeError:
        raise DistillError(f"module '{module_name}' has no '{attribute}'", hint=f"asked for as '{name}'") from None
