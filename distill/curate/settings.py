"""The settings of each stage: everything in a recipe that changes the stage's bytes, resolved, and nothing else.

Not among them: the limit (a run may grow), devices, window sizes, the paths that local data lie at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distill.config import CurateConfig, DecontaminationConfig, PromptConfig
from distill.curate.decontaminate import find_benchmarks
from distill.fingerprints import file_fingerprint, fingerprint
from distill.models import model_fingerprint
from distill.problems import ProblemSource
from distill.registry import REGISTRY
from distill.schema import SCHEMA_VERSION
from distill.verifiers.limits import WITHOUT_EFFECT

# What a card says that is resolved elsewhere, or is only for people.
CARD_FIELDS_WITHOUT_EFFECT = {
    "title", "licence", "roles", "homepage", "checked", "default_splits", "splits", "verifier", "prompt", "hub", "body",
    "decontaminate",
}  # fmt: skip


def stage_settings(config: CurateConfig, source: ProblemSource, prompt: PromptConfig) -> dict[str, Any]:
    """Settings of the problems and the stages 'completions', 'scores' and 'entropies'; None for one that is left out.

    Args:
        source: the problems, as ``read_problems`` opened them.
        prompt: as ``resolve_prompt`` returns it.
    """
    return {
        "problems": {"decontaminate": _decontamination_settings(config.decontaminate, source)},
        "completions": {
            "schema_version": SCHEMA_VERSION,
            "source": source_settings(source),
            "prompt": prompt.model_dump(mode="json", exclude_none=True),
            **_teacher_settings(config),
        },
        "scores": _score_settings(config, _markers(config, source)),
        "entropies": _entropy_settings(config),
    }


def rescoring_settings(config: CurateConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run whose completions stay and are scored by this recipe.

    Args:
        settings: the run's so far; markers that came from the card are taken from them.
    """
    known = settings["scores"]["verifier"]["markers"]
    return {
        **settings,
        "scores": _score_settings(config, known if config.verifier.markers is None else config.verifier.markers),
        "entropies": _entropy_settings(config),
    }


def about(source: ProblemSource) -> dict[str, str]:
    """What people want to know of a run's source, and no stage depends on."""
    card = source.card
    return {"source": card.name, "split": source.split, "title": card.title, "licence": card.licence}


def source_settings(source: ProblemSource) -> dict[str, Any]:
    """What the problems of a source depend on: its data, and how a card reads them."""
    card, split = source.card, source.card.splits[source.split]
    return {
        **card.model_dump(mode="json", exclude=CARD_FIELDS_WITHOUT_EFFECT),
        "columns": source.mapping.columns.model_dump(mode="json"),
        "answer_after": source.mapping.answer_after,
        "marker_needed": source.mapping.marker_needed,
        "split": {"name": source.split, **split.model_dump(mode="json", exclude={"size"})},
        "data": _data_settings(source),
    }


def _decontamination_settings(config: DecontaminationConfig, source: ProblemSource) -> dict[str, Any]:
    """What problems are compared with: where a benchmark's rows come from plays no part, what they are does."""
    own = config.model_dump(mode="json", exclude={"benchmarks", "paths", "fetch"})
    named = {}
    for benchmark in find_benchmarks(config, source):
        named[benchmark.name] = "unchecked"
        if benchmark.source is not None:
            mode = benchmark.source.card.decontaminate
            named[benchmark.name] = f"{mode} {fingerprint(source_settings(benchmark.source))}"
    return {**own, "source": source.card.decontaminate, "benchmarks": named}


def _markers(config: CurateConfig, source: ProblemSource) -> tuple[str, ...]:
    """Texts after which completions state their answer: the recipe's word, else the card's."""
    return source.card.verifier.markers if config.verifier.markers is None else config.verifier.markers


def _data_settings(source: ProblemSource) -> Any:
    if source.path is not None:
        return file_fingerprint(source.path)
    if source.gym is not None:
        return source.gym.settings()
    if source.card.generator is not None:
        return {"generator": source.card.generator, "code": _code(source.card.generator)}
    return source.card.hub.model_dump(mode="json") if source.card.hub is not None else None


def _teacher_settings(config: CurateConfig) -> dict[str, Any]:
    if config.teacher.backend == "recorded":
        return {
            "teacher": {"backend": "recorded", "model": config.teacher.model},
            "recorded": _recorded_settings(config),
        }
    if config.teacher.backend == "server":
        return {
            "teacher": _server_settings(config),
            "sampling": config.sampling.model_dump(mode="json"),
            "seed": config.seed,
            **_bounds_settings(config),
        }
    if config.teacher.backend == "vllm":
        return {
            "teacher": _vllm_settings(config),
            "sampling": config.sampling.model_dump(mode="json"),
            "seed": config.seed,
            **_bounds_settings(config),
        }
    return {
        "teacher": {
            "backend": config.teacher.backend,
            "code": None if config.teacher.backend in REGISTRY["backends"] else _code(config.teacher.backend),
            "model": config.teacher.model,
            "weights": model_fingerprint(config.teacher.model),
            "dtype": config.teacher.dtype,
        },
        "sampling": config.sampling.model_dump(mode="json"),
        "seed": config.seed,
        "inline_entropies": config.entropies.mode in ("auto", "inline"),
    }


def _bounds_settings(config: CurateConfig) -> dict[str, Any]:
    """What bounds of entropies are made of, where any are wanted."""
    wanted = config.entropies.mode == "topk_bounds"
    return {"bounds": config.entropies.model_dump(mode="json", include={"top_k", "vocabulary"})} if wanted else {}


def _server_settings(config: CurateConfig) -> dict[str, Any]:
    """What a server is asked for; where it stands, how it is reached and what weights lie here play no part."""
    teacher = config.teacher
    return {
        "backend": teacher.backend,
        "model": teacher.model,
        "tokenizer": teacher.tokenizer,
        "tokenizer_files": model_fingerprint(teacher.tokenizer) if teacher.tokenizer else None,
        "extra_body": teacher.extra_body,
    }


def _vllm_settings(config: CurateConfig) -> dict[str, Any]:
    teacher = config.teacher
    return {
        "backend": teacher.backend,
        "model": teacher.model,
        "weights": model_fingerprint(teacher.model),
        "dtype": teacher.dtype,
        "max_model_len": teacher.max_model_len,
        "engine_options": teacher.effective_engine_options,
    }


def _recorded_settings(config: CurateConfig) -> dict[str, Any]:
    recorded = config.recorded
    path = Path(recorded.path or "").expanduser()
    return {
        **recorded.model_dump(mode="json", exclude={"path"}),
        "num_completions": config.sampling.num_completions,
        "name": path.name.partition(".")[0],  # the label of a teacher that has no other
        "data": file_fingerprint(path) if path.is_file() else None,  # the backend says that it is missing
        "tokenizer_files": model_fingerprint(recorded.tokenizer) if recorded.tokenizer else None,
    }


def _score_settings(config: CurateConfig, markers: Sequence[str]) -> dict[str, Any]:
    parts = {("verifiers", config.verifier.kind or ""), *(("filters", each.name) for each in config.filters)}
    parts |= {("rewards", part.function or name) for name, part in config.rewards.parts.items()}
    return {
        "verifier": {
            **config.verifier.model_dump(mode="json", exclude=set(WITHOUT_EFFECT)),
            "markers": list(markers),
        },
        "rewards": config.rewards.model_dump(mode="json"),
        "advantages": config.advantages.model_dump(mode="json"),
        "filters": [each.model_dump(mode="json", exclude={"tests"}) for each in config.filters],
        "code": {name: _code(name) for kind, name in sorted(parts) if name and name not in REGISTRY[kind]},
    }


def _entropy_settings(config: CurateConfig) -> dict[str, Any] | None:
    if config.entropies.mode != "prefill":
        return None
    model = config.entropies.model or config.teacher.model
    return {"model": model, "weights": model_fingerprint(model), "dtype": config.teacher.dtype}


def _code(target: str) -> str | None:
    """Fingerprint of the file of a user's 'pkg.module:attribute'; ours change with distill's version."""
    module = target.partition(":")[0]
    if module.split(".")[0] == "distill":
        return None
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # whoever loads the part says so
        return None
    return file_fingerprint(Path(spec.origin)) if spec is not None and spec.origin else None
