"""A recipe to begin with: fields as YAML, each below what its config says of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from distill.config import CurateConfig, EvalConfig, TrainConfig
from distill.config.base import Config

CONFIGS: dict[str, type[Config]] = {"curate": CurateConfig, "train": TrainConfig, "eval": EvalConfig}
SHOWN: dict[str, tuple[str, ...]] = {
    "curate": (
        *("source.name", "teacher.model", "teacher.backend", "sampling.num_completions", "sampling.temperature"),
        *("sampling.max_new_tokens", "rewards.parts", "filters", "entropies.mode", "seed"),
    ),
    "train": (
        *("model", "method", "epochs", "groups_per_step", "max_tokens", "tokens_per_micro_batch"),
        *("optimizer.learning_rate", "validation_share", "keep", "seed"),
    ),
    "eval": ("benchmarks", "sampling.num_completions", "sampling.temperature", "sampling.max_new_tokens", "seed"),
}
"""What people change most; what else a recipe or an option names is shown as well."""
OFFERED: dict[str, tuple[str, ...]] = {"curate": (), "train": ("lora",), "eval": ()}
"""Shown, but commented out."""
WIDTH = 110


def recipe_text(sections: Mapping[str, Mapping[str, Any]], header: str, *, every_field: bool = False) -> str:
    """A recipe with these sections, every field below its own description.

    Args:
        sections: nested values that were chosen, by section; what people change most is added with its default.
        header: lines for the top.
        every_field: name all others as well, commented out.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for name, chosen in sections.items():
        lines += ["", f"{name}:"]
        offered = None if every_field else OFFERED[name]
        lines += _fields(CONFIGS[name], _with_shown(CONFIGS[name], chosen, SHOWN[name]), offered, "  ")
    return "\n".join(lines) + "\n"


def _with_shown(config: type[Config], chosen: Mapping[str, Any], shown: Sequence[str]) -> dict[str, Any]:
    """The chosen values, and the defaults of what is shown in any case."""
    values = config()
    merged = {name: dict(value) if isinstance(value, Mapping) else value for name, value in chosen.items()}
    for path in shown:
        first, _, second = path.partition(".")
        if second:
            merged.setdefault(first, {}).setdefault(second, getattr(getattr(values, first), second))
        else:
            merged.setdefault(first, getattr(values, first))
    return merged


def _fields(
    model: type[BaseModel], values: Mapping[str, Any], offered: Sequence[str] | None, indent: str
) -> Iterator[str]:
    """Lines of a section's fields: those with a value, and commented out those that are offered (None: all)."""
    for name, field in model.model_fields.items():
        if name not in values and offered is not None and name not in offered:
            continue
        section = _section(field.annotation)
        mark = "" if name in values else "#"
        value = values[name] if name in values else field.get_default(call_default_factory=True)
        yield from _comment(field.description or _sentence(section), indent)
        if section is None or not (mark or isinstance(value, Mapping)):
            yield f"{indent}{mark}{name}: {_flow(value)}"
        else:
            yield f"{indent}{mark}{name}:"
            inner = () if offered is not None and not mark else None
            yield from _fields(section, {} if mark else value, inner, f"{indent}  ")


def _section(annotation: Any) -> type[Config] | None:
    """The section that a field of this type is; None for a value, and for lists and mappings of sections."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((option for option in options if isinstance(option, type) and issubclass(option, Config)), None)


def _sentence(section: type[BaseModel] | None) -> str:
    """What a section says of itself first."""
    return (section.__doc__ or "").split("\n\n")[0] if section is not None else ""


def _comment(text: str, indent: str) -> list[str]:
    words = " ".join(text.replace("``", "'").split())
    return textwrap.wrap(
        words, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
    )


def _flow(value: Any) -> str:
    """A value on one line, as YAML.

    >>> _flow(("a", 1e-5)), _flow(None), _flow("it's"), _flow(True)
    ('[a, 1.0e-05]', 'null', "it's", 'true')
    """
    plain = _plain(value)
    text = yaml.safe_dump(plain, default_flow_style=True, width=1_000_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    """A value of lists, mappings and scalars; of a section in a list, only what says something."""
    if isinstance(value, BaseModel):
        said = {name: _plain(inner) for name, inner in value if inner not in (None, {}, ())}
        return said["name"] if set(said) == {"name"} else said  # a filter without options goes by its name
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
