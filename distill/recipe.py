"""Recipes and ``--set`` become one validated config, and errors name the field, its place and the nearest right name.

Precedence: the defaults of distill.config, then the recipe's section, then ``--set``, then first-class flags. A recipe
may begin with another one, ``base: slowed``, and say only where it differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from distill.config.base import Config
from distill.errors import DistillError
from distill.registry import did_you_mean

SECTIONS = ("curate", "train", "eval")
BASE = "base"
"""Beside the sections: the recipe that goes before this one, shipped or beside it."""
ConfigT = TypeVar("ConfigT", bound=BaseModel)


# The parser in C takes a tenth of the time, and every data card is read before a run; some builds of PyYAML lack it.
_SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc, valid-type]
    """YAML with the scalars of YAML 1.2: ``1e-5`` is a number, ``no`` and ``off`` are words."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":float", ":bool", ":int", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), "-+0123456789")
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF|nan|NaN|NAN))$"
    ),
    "-+0123456789.",
)


def parse_yaml(text: str) -> Any:
    """The value that a YAML text stands for, by YAML 1.2's scalars.

    >>> parse_yaml("1e-5"), parse_yaml("no"), parse_yaml("true"), parse_yaml("[a, 2]")
    (1e-05, 'no', True, ['a', 2])
    """
    return yaml.load(text, Loader=_Loader)


def find_recipe(path: Path) -> Path:
    """The recipe's file: the path itself, or a shipped recipe of that name.

    >>> find_recipe(Path("quickstart")).name
    'quickstart.yaml'
    """
    shipped = shipped_recipes()
    if not path.exists() and path.name == str(path) and path.stem in shipped:
        return _recipes_folder() / f"{path.stem}.yaml"
    if not path.exists():
        beside = sorted(str(file) for file in path.parent.glob(f"*{path.suffix}")) if path.suffix else []
        hint = did_you_mean(str(path), beside) if beside else f"'distill init {path}' writes one"
        raise DistillError(
            f"there is no recipe '{path}'", hint=hint if path.suffix else did_you_mean(path.stem, shipped)
        )
    return path


def shipped_recipes() -> list[str]:
    """Names of the recipes that come with distill.

    >>> "quickstart" in shipped_recipes()
    True
    """
    return sorted(entry.stem for entry in _recipes_folder().glob("*.yaml"))


def _recipes_folder() -> Path:
    """Inside the installed package, or at the top of a source checkout."""
    package = Path(__file__).parent
    return package / "recipes" if (package / "recipes").is_dir() else package.parent / "recipes"


def read_recipe(path: Path, section: str) -> list[tuple[str, dict[str, Any]]]:
    """One command's section of a recipe file, behind that of the recipe it begins with; each with its file's name.

    A file that does not name the section is left out.

    Raises:
        DistillError: a file cannot be read, is no YAML mapping or has an unknown section, or recipes begin with
            each other.
    """
    layers: list[tuple[str, dict[str, Any]]] = []
    read: list[Path] = []
    following: Path | None = path
    while following is not None:
        found = find_recipe(following)
        if found in read:
            raise DistillError(f"recipe '{found}' begins with itself", hint="remove its 'base', or that of the other")
        read.append(found)
        content = _content(found)
        values = content.get(section) or {}
        if not isinstance(values, dict):
            raise DistillError(f"{found}: section '{section}' is no mapping", hint="expected lines such as 'seed: 1'")
        if values:
            layers.insert(0, (str(found), values))
        following = _base_of(found, content)
    return layers


def _content(path: Path) -> dict[str, Any]:
    """A recipe file's sections."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DistillError(f"recipe '{path}' cannot be read: {reason}", hint="a recipe is a YAML file") from None
    if not isinstance(content, dict):
        raise DistillError(f"recipe '{path}' is no mapping", hint=f"its sections are {', '.join(SECTIONS)}")
    for name in content:
        if name not in (*SECTIONS, BASE):
            raise DistillError(f"{path}: no section '{name}'", hint=did_you_mean(str(name), list(SECTIONS)))
    return content


def _base_of(path: Path, content: Mapping[str, Any]) -> Path | None:
    """The recipe that this one begins with: a shipped one's name, or a path seen from its folder."""
    base = content.get(BASE)
    if base is None:
        return None
    beside = path.parent / str(base)
    return next(
        (found for found in (beside, beside.with_name(f"{beside.name}.yaml")) if found.is_file()), Path(str(base))
    )


def parse_set(text: str) -> dict[str, Any]:
    """The nested mapping that one ``--set a.b=c`` stands for.

    The value is read as YAML where it begins like a list, a mapping or a quoted text. Anything else is a
    single number, word or text, whatever signs stand in it.

    >>> parse_set("sampling.temperature=0.7")
    {'sampling': {'temperature': 0.7}}
    >>> parse_set("source.answer_after=####"), parse_set("verifier.markers=['A:', '####']")
    ({'source': {'answer_after': '####'}}, {'verifier': {'markers': ['A:', '####']}})
    """
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise DistillError(f"'--set {text}' is not of the form key=value", hint="for example --set sampling.top_p=0.95")
    nested: Any = _parse_value(value)
    for key in reversed(keys):
        nested = {key: nested}
    return dict(nested)


def _parse_value(text: str) -> Any:
    stripped = text.strip()
    try:
        if not stripped.startswith(("{", "[", '"', "'")):
            return _parse_scalar(stripped)
        value = parse_yaml(stripped)
    except (yaml.YAMLError, ValueError):
        return text  # one such as '[CLS]: ' that is no YAML is meant literally
    if isinstance(value, dict):
        is_mapping = stripped[0] == "{" and (":" in stripped or not value)  # '{question}' is a template
        return value if is_mapping else text
    return value


def _parse_scalar(text: str) -> Any:
    """The number, truth value, null or text that unquoted YAML spells this way; '#' and ': ' mean nothing here."""
    loader: Any = _Loader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))
    return loader.construct_object(yaml.ScalarNode(tag, text), deep=True)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``; mappings merge, everything else is replaced.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def load_config(
    config_class: type[ConfigT],
    section: str,
    *,
    recipe: Path | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> ConfigT:
    """The validated config of one command.

    Args:
        section: 'curate', 'train' or 'eval'.
        recipe: a YAML file, or None.
        sets: texts such as 'sampling.temperature=0.7'.
        flags: a nested mapping of first-class flags; None values are left out at every depth.

    Raises:
        DistillError: an unknown field, a value out of bounds, an unreadable recipe.
    """
    layers = read_recipe(recipe, section) if recipe else []
    layers += [(f"--set {text}", parse_set(text)) for text in sets]
    layers.append(("options", _without_none(flags or {})))
    values = config_class().model_dump()
    for _, layer in layers:
        values = merge(values, _widened(config_class, layer))
    try:
        return config_class.model_validate(values)
    except ValidationError as error:
        raise _explain(error, config_class, section, layers) from None


def to_yaml(config: BaseModel, section: str) -> str:
    """A config as a recipe with one section, every field written out.

    A recipe is merged into the defaults, so what a config lacks of them (a reward part, an option) is written as null.
    """
    values = _with_nulls(config.model_dump(mode="json"), type(config)().model_dump(mode="json"))
    return yaml.safe_dump({section: values}, sort_keys=False, allow_unicode=True, width=120)


def _with_nulls(values: Any, defaults: Any) -> Any:
    if not isinstance(values, Mapping) or not isinstance(defaults, Mapping):
        return values
    return {key: _with_nulls(values.get(key), defaults.get(key)) for key in {**values, **defaults}}


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    nested = {key: _without_none(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    return {key: value for key, value in nested.items() if value is not None and value != {}}


def _widened(model: type[BaseModel], layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer with every number that is short for a section written out, so that it merges with other fields of it."""
    return {name: _widened_field(_section_at(model, name), value) for name, value in layer.items()}


def _widened_field(section: type[Config] | None, value: Any) -> Any:
    if section is None:
        return value
    value = section.widened(value)
    return _widened(section, value) if isinstance(value, Mapping) else value


def _explain(
    error: ValidationError, config_class: type[BaseModel], section: str, layers: list[tuple[str, dict[str, Any]]]
) -> DistillError:
    """The first thing wrong, where it was written and the nearest right name."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    dotted = ".".join([section, *path])
    origin = next((name for name, layer in reversed(layers) if _holds(layer, path)), "config")
    if first["type"] == "extra_forbidden":
        known = _fields_at(config_class, path[:-1])
        return DistillError(f"{origin}: no field '{dotted}'", hint=did_you_mean(path[-1], known))
    reason = first["msg"].removeprefix("Value error, ")
    found = f", found '{first['input']}'" if not isinstance(first["input"], Mapping) else ""
    hint = "docs/config.md lists every field"
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        hint = did_you_mean(first["input"], re.findall(r"'([^']*)'", first["ctx"]["expected"]))
    return DistillError(f"{origin}: '{dotted}': {reason[:1].lower()}{reason[1:]}{found}", hint=hint)


def _holds(values: Any, path: Sequence[str]) -> bool:
    """True when a nested mapping has a value at the path, or along it."""
    for key in path:
        if not isinstance(values, Mapping):
            return True
        if key not in values:
            return False
        values = values[key]
    return True


def _fields_at(config_class: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Names of the fields of the model that a path leads to."""
    model: type[BaseModel] | None = config_class
    for name in path:
        model = _section_at(model, name) if model is not None else None
    return list(model.model_fields) if model is not None else []


def _section_at(model: type[BaseModel], name: str) -> type[Config] | None:
    """The section that stands in a field; None for any other field."""
    annotation = model.model_fields[name].annotation if name in model.model_fields else None
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((found for found in candidates if isinstance(found, type) and issubclass(found, Config)), None)
