"""What stands where in a row of recorded completions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distill.config import RecordedConfig
from distill.errors import DistillError
from distill.records import Completion, FinishReason

USUAL_NAMES = {
    "question": ("question", "problem"),
    "completions": ("completions", "completion", "responses", "response", "generations", "generation", "outputs"),
    "models": ("models", "model"),
    "token_ids": ("completion_ids", "token_ids"),
    "num_tokens": ("num_tokens",),
    "finish_reasons": ("finish_reasons", "finish_reason"),
}
MAX_INTEGERS = 2**31
"""Token ids and counts are stored as 32-bit integers."""
RETOKENISE = "--tokenizer MODEL encodes and counts the texts anew (recorded.tokenizer)"
FINISH_REASONS: dict[str, FinishReason] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_length"), "length"),
}


@dataclass(frozen=True, slots=True)
class Fields:
    """The paths that are really read: those of the config, the rest filled in from the file's columns."""

    key: str
    """Path of the id or the question that joins a row to its problem."""
    by_question: bool
    completions: str | tuple[str, ...]
    models: str | tuple[str, ...] | None = None
    token_ids: str | None = None
    num_tokens: str | tuple[str, ...] | None = None
    finish_reasons: str | None = None

    def columns(self) -> set[str]:
        """The names that the paths begin with, and whole paths too, for a column's name may hold dots."""
        named = (self.key, self.completions, self.token_ids, self.num_tokens, self.finish_reasons)
        paths = [path for value in named for path in _as_tuple(value)]
        if isinstance(self.models, str):  # a tuple holds the names themselves
            paths.append(self.models)
        return {name for path in paths for name in (path, path.partition(".")[0].removesuffix("[]"))}


def resolve_fields(config: RecordedConfig, columns: Sequence[str]) -> Fields:
    """Fill in the paths that the config leaves open.

    What stands beside the completions is guessed only where these are a plain column. Token ids are
    guessed only where no tokenizer is named: they might be another one's.

    Raises:
        DistillError: nothing joins rows to problems, there are no completions, nothing tells their
            lengths, or two lists of paths differ in length.
    """
    by_question = config.id is None and (config.question is not None or "id" not in columns)
    key = (config.question or _usual("question", columns)) if by_question else config.id or "id"
    if key is None:
        raise _no_column(config, columns, "ids or questions", "recorded.id or recorded.question")
    completions = config.completions or _usual("completions", columns)
    if completions is None:
        raise _no_column(config, columns, "completions", "recorded.completions")
    beside = columns if completions in columns else ()
    fields = Fields(
        key=key,
        by_question=by_question,
        completions=completions,
        models=config.models or _usual("models", beside),
        token_ids=config.token_ids or _usual("token_ids", () if config.tokenizer else beside),
        num_tokens=config.num_tokens or _usual("num_tokens", beside),
        finish_reasons=config.finish_reasons or _usual("finish_reasons", beside),
    )
    _check(fields, config)
    return fields


def read_path(row: Any, path: str, where: str) -> Any:
    """What stands at a path: ``a.b`` inside objects, ``a[].b`` in every element of a list.

    >>> read_path({"a": {"b": 1}}, "a.b", "line 1")
    1
    >>> read_path({"runs": [{"text": "x"}, {"text": "y"}]}, "runs[].text", "line 1")
    ['x', 'y']
    >>> read_path({"a.b": 2}, "a.b", "line 1")
    2

    Raises:
        DistillError: a key is missing, or ``[]`` stands at something that is no list.
    """
    if isinstance(row, dict) and path in row:
        return row[path]
    step, _, rest = path.partition(".")
    name = step.removesuffix("[]")
    if not isinstance(row, dict):
        raise DistillError(
            f"{where}: '{name}' is looked for in a {type(row).__name__}", hint="lists need '[]': 'a[].b'"
        )
    if name not in row:
        raise DistillError(f"{where} has no '{name}'", hint=f"found: {', '.join(map(str, row))}")
    value = row[name]
    if name == step:
        return read_path(value, rest, where) if rest else value
    if not isinstance(value, list):
        raise DistillError(f"{where}: '{name}' is a {type(value).__name__}, expected a list", hint="leave out the '[]'")
    return [read_path(element, rest, where) for element in value] if rest else value


def read_completions(row: dict[str, Any], fields: Fields, where: str) -> list[Completion]:
    """The completions of a row, as far as the row tells of them; a null text is no completion.

    Raises:
        DistillError: a value is missing, is of another type, or a list is of another length.
    """
    if isinstance(fields.completions, tuple):
        texts = [read_path(row, path, where) for path in fields.completions]
    else:
        texts = read_path(row, fields.completions, where)
    single = not isinstance(texts, list)
    texts = [texts] if single else texts
    models = fields.models if isinstance(fields.models, tuple) else _beside(row, fields.models, texts, single, where)
    token_ids = _beside(row, fields.token_ids, texts, single, where)
    num_tokens = _beside(row, fields.num_tokens, texts, single, where)
    reasons = _beside(row, fields.finish_reasons, texts, single, where)
    return [
        Completion(
            text=_text(text, where),
            token_ids=_token_ids(ids, where),
            num_tokens=_count(count, where),
            finish_reason=FINISH_REASONS.get(str(reason), "unknown"),
            model="" if model is None else str(model),
        )
        for text, model, ids, count, reason in zip(texts, models, token_ids, num_tokens, reasons, strict=True)
        if text is not None
    ]


def _beside(
    row: dict[str, Any], path: str | tuple[str, ...] | None, texts: list[Any], single: bool, where: str
) -> Sequence[Any]:
    """One value per completion: from a list of the same length, or one value for all."""
    if path is None:
        return [None] * len(texts)
    if isinstance(path, tuple):
        return [read_path(row, one, where) for one in path]
    value = read_path(row, path, where)
    if single:
        return [value]
    if not isinstance(value, list):
        return [value] * len(texts)
    if len(value) != len(texts):
        raise DistillError(
            f"{where} has {len(texts)} completions but {len(value)} of '{path}'", hint="give one for each, or one value"
        )
    return value


def _text(text: Any, where: str) -> str:
    if isinstance(text, dict):
        raise DistillError(
            f"{where}: a completion is an object with the keys {', '.join(map(str, text))}, expected text",
            hint="name the key that holds it: recorded.completions 'completions[].text'",
        )
    if not isinstance(text, str):
        raise DistillError(
            f"{where}: a completion is a {type(text).__name__}, expected text",
            hint="--set recorded.completions=NAME names the column or path of the texts",
        )
    # Half a surrogate pair, which JSON can spell, is text for neither a tokenizer nor a file.
    return text.encode("utf-8", "replace").decode()


def _token_ids(ids: Any, where: str) -> tuple[int, ...]:
    if ids is None:
        return ()
    if not isinstance(ids, list) or not all(isinstance(token_id, int) for token_id in ids):
        raise DistillError(f"{where}: the token ids of a completion are not a list of integers", hint=RETOKENISE)
    wrong = [token_id for token_id in ids if not 0 <= token_id < MAX_INTEGERS]
    if wrong:
        raise DistillError(f"{where}: '{wrong[0]}' is no token id", hint=RETOKENISE)
    return tuple(ids)


def _count(count: Any, where: str) -> int:
    if count is None or (isinstance(count, float) and math.isnan(count)):  # what a float column has for nothing
        return -1
    if isinstance(count, bool) or not isinstance(count, int | float) or not float(count).is_integer():
        raise DistillError(f"{where}: a completion has '{count}' tokens, expected a whole number", hint=RETOKENISE)
    if count >= MAX_INTEGERS:
        raise DistillError(f"{where}: a completion has '{count}' tokens, which no model writes", hint=RETOKENISE)
    return max(-1, int(count))  # -1 is how a dataset of ours says that it is not known


def _usual(field: str, columns: Sequence[str]) -> str | None:
    return next((name for name in USUAL_NAMES[field] if name in columns), None)


def _as_tuple(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value or ()


def _no_column(config: RecordedConfig, columns: Sequence[str], what: str, option: str) -> DistillError:
    return DistillError(
        f"'{config.path}' has no column of {what} with a usual name",
        hint=f"found: {', '.join(columns)}; name it with {option}",
    )


def _check(fields: Fields, config: RecordedConfig) -> None:
    """Raise when the fields cannot belong together, or no completion would have a length."""
    for option, value in (("models", fields.models), ("num_tokens", fields.num_tokens)):
        if isinstance(value, tuple) and len(value) != len(_as_tuple(fields.completions)):
            raise DistillError(
                f"recorded.{option} lists {len(value)} values for {len(_as_tuple(fields.completions))} paths of"
                " recorded.completions",
                hint="list one for each path, or name one column",
            )
    if not (fields.token_ids or fields.num_tokens or config.tokenizer):
        raise DistillError(
            f"nothing tells how many tokens the completions of '{config.path}' have, which rewards depend on",
            hint="--tokenizer MODEL counts them (recorded.tokenizer); or name a column:"
            " --set recorded.num_tokens=NAME, --set recorded.token_ids=NAME",
        )
