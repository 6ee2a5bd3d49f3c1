"""Completions that exist already, row by row: evaluations of our own, lm-evaluation-harness's samples, plain rows.

    of our own      completions.jsonl in a folder of 'distill eval': problem, completions and their token counts
    lm-eval         samples_TASK_DATE.jsonl: 'doc' and 'resps'; a row that stands once for each filter is read once
    plain           JSONL, Parquet, CSV ...: one completion or a list of them in each row, the problem beside it

Files are read as a stream. A row that holds no completion is named and counted, and stops nothing.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from distill.config import RecordedConfig
from distill.errors import DistillError
from distill.evals.store import COMPLETIONS_FILE, SETTINGS_FILE
from distill.generate.recorded_fields import USUAL_NAMES, Fields, read_completions
from distill.problems import Rejected
from distill.problems.rows import check_file, file_rows, json_fault
from distill.records import Completion, Problem
from distill.registry import REGISTRY

Shape = Literal["distill", "lm-eval", "rows"]
LM_EVAL_NAME = re.compile(r"samples_(?P<task>.+?)_\d{4}-\d{2}-\d{2}T[\d.:-]+\.jsonl")
COMPLETION_NAMES = (*USUAL_NAMES["completions"], "output", "prediction_text", "prediction")
OUR_FIELDS = ("id", "question", "answer", "source", "verifier", "index", "options", "solution", "metadata")
MAX_NAME = 80
FIRST_ROWS = 20
"""Rows that are looked at to see what a file holds."""
GUESSED = {"models": ("model",), "num_tokens": ("num_tokens",), "finish_reasons": ("finish_reason", "finish_reasons")}


@dataclass(frozen=True, slots=True)
class Recording:
    """The completions of one row and what the row says of their problem."""

    number: int
    """Of the row, counted from 1."""
    place: int
    """Of the problem in its source, counted from 0, as far as the row tells."""
    row: Mapping[str, Any]
    """Columns of the problem."""
    completions: tuple[Completion, ...]
    problem: Problem | None = None
    """Where the row holds the whole problem."""


class RecordingFile:
    """One file of recorded completions.

    Raises:
        DistillError: it cannot be read, has no row, or none of its columns looks like completions.
    """

    def __init__(self, path: Path, config: RecordedConfig) -> None:
        check_file(path)
        self.path = path
        self._config = config
        first = list(islice((row for _, row in self._rows() if isinstance(row, dict)), FIRST_ROWS))
        if not first:
            raise DistillError(f"'{path}' has no row", hint="expected one JSON object per line, or a table")
        self.shape = next((shape for shape in map(_shape, first) if shape != "rows"), "rows")
        self.first_rows = [_lm_eval_problem(row) for row in first] if self.shape == "lm-eval" else first
        """Columns of the first rows' problems."""
        self._filter = next((row["filter"] for row in first if row.get("filter")), None)
        self._fields = self._plain_fields(first[0]) if self.shape == "rows" else None

    @cached_property
    def task(self) -> str:
        """The name of lm-eval's task, out of the file's name; empty for other files."""
        named = LM_EVAL_NAME.fullmatch(self.path.name)
        return named["task"] if named and self.shape == "lm-eval" else ""

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """How the completions were made, where our own evaluation says so beside them."""
        beside = self.path.with_name(SETTINGS_FILE)
        if self.shape != "distill" or not beside.is_file():
            return {}
        try:
            found = json.loads(beside.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise DistillError(f"'{beside}' holds no settings", hint="move it away to do without them")
        return found

    @property
    def model(self) -> str:
        """The model that wrote the completions whose rows name none."""
        if self.shape == "distill":
            return str(self.settings.get("model") or self.first_rows[0].get("teacher") or self.path.parent.name)
        if self.shape == "lm-eval":
            return self.path.resolve().parent.name.replace("__", "/")
        return self.path.name.partition(".")[0]

    def describe(self) -> str:
        """What the file was taken for, in one line."""
        if self._fields is None:
            kind = {"distill": "an evaluation of distill", "lm-eval": "samples of lm-evaluation-harness"}[self.shape]
            return f"{self.path.name}: {kind}"
        named = self._fields.completions
        completions = named if isinstance(named, str) else "', '".join(named)
        models = f", models from '{self._fields.models}'" if isinstance(self._fields.models, str) else ""
        return f"{self.path.name}: completions from '{completions}'{models}"

    def __iter__(self) -> Iterator[Recording | Rejected]:
        read = {"distill": self._of_distill, "lm-eval": self._of_lm_eval, "rows": self._of_rows}[self.shape]
        for number, row in self._rows():
            if not isinstance(row, dict):
                yield Rejected(number, "", row.reason if isinstance(row, _Unread) else "not_an_object")
                continue
            try:
                recording = read(number, row)
            except ValidationError as error:
                found = error.errors()[0]
                yield Rejected(number, _name(row), f"malformed: {found['loc'][0]}: {found['msg'].lower()}")
            except (KeyError, TypeError, ValueError) as error:
                yield Rejected(number, _name(row), f"malformed: {type(error).__name__} {error}")
            except DistillError as error:
                yield Rejected(number, _name(row), str(error))
            else:
                if recording is not None:
                    # Of our own evaluations it is known that the model was asked and said nothing.
                    has_something = recording.completions or self.shape == "distill"
                    yield recording if has_something else Rejected(number, _name(row), "no_completion")

    def _rows(self) -> Iterator[tuple[int, Any]]:
        """The file's rows; in JSON Lines a line that cannot be read stands for itself only."""
        if not self.path.name.endswith((".jsonl", ".jsonl.gz")):
            yield from file_rows(self.path)
            return
        opener: Callable[..., Any] = gzip.open if self.path.name.endswith(".gz") else open
        try:
            with opener(self.path, "rb") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield number, _parsed(line)
        except (OSError, EOFError) as error:
            raise DistillError(f"'{self.path}' cannot be read: {error}", hint="is the file complete?") from None

    def _of_distill(self, number: int, row: Mapping[str, Any]) -> Recording:
        problem = _problems().validate_python({name: row[name] for name in OUR_FIELDS})
        if not isinstance(json.loads(problem.metadata), dict):
            raise ValueError("metadata is no object")
        if problem.verifier not in REGISTRY["verifiers"] and ":" not in problem.verifier:
            raise ValueError(f"no verifier is called '{problem.verifier[:MAX_NAME]}'")
        columns = [row[name] for name in ("completions", "num_tokens", "finish_reasons")]
        parts = [
            dict(zip(("text", "num_tokens", "finish_reason"), each, strict=True)) for each in zip(*columns, strict=True)
        ]
        opened = row["prompt_opens_think"] is True
        completions = tuple(
            replace(completion, model=self.model, think_opened=opened)
            for completion in _completions().validate_python(parts)
        )
        return Recording(number, problem.index, row, completions, problem)

    def _of_lm_eval(self, number: int, row: Mapping[str, Any]) -> Recording | None:
        if row.get("filter") != self._filter:
            return None  # the same completions once more, under another filter
        texts = [text for request in row["resps"] for text in ([request] if isinstance(request, str) else request)]
        if not all(isinstance(text, str) for text in texts):
            raise DistillError("log-likelihoods, no completions", hint="only tasks that generate text can be scored")
        place = row["doc_id"] if isinstance(row.get("doc_id"), int) else number - 1
        completions = tuple(Completion(text, finish_reason="unknown", model=self.model) for text in texts)
        return Recording(number, place, _lm_eval_problem(row), completions)

    def _of_rows(self, number: int, row: Mapping[str, Any]) -> Recording:
        assert self._fields is not None
        read = read_completions(dict(row), self._fields, "this row")
        completions = tuple(replace(completion, model=completion.model or self.model) for completion in read)
        return Recording(number, number - 1, row, completions)

    def _plain_fields(self, row: Mapping[str, Any]) -> Fields:
        config, columns = self._config, list(row)
        completions = config.completions or next((name for name in COMPLETION_NAMES if name in row), None)
        if completions is None:
            raise DistillError(
                f"'{self.path}' has no column of completions with a usual name",
                hint=f"found: {', '.join(columns)}; name it with --set recorded.completions=NAME",
            )
        models = config.models or _first_of(GUESSED["models"], columns)
        return Fields(
            key="",
            by_question=False,
            completions=completions,
            models=models if isinstance(completions, str) or isinstance(models, tuple) else tuple(completions),
            token_ids=config.token_ids,
            num_tokens=config.num_tokens or _first_of(GUESSED["num_tokens"], columns),
            finish_reasons=config.finish_reasons or _first_of(GUESSED["finish_reasons"], columns),
        )


def find_recordings(path: Path) -> list[Path]:
    """The files of completions at a path: itself, or those of our own and of lm-eval in a folder.

    Raises:
        DistillError: a folder holds none.
    """
    if not path.is_dir():
        return [path]
    found = sorted([*path.rglob(COMPLETIONS_FILE), *path.rglob("samples_*.jsonl")])
    if not found:
        raise DistillError(
            f"'{path}' holds no '{COMPLETIONS_FILE}' of 'distill eval' and no 'samples_*.jsonl' of lm-eval",
            hint="name the file of completions itself",
        )
    return found


@cache
def _problems() -> TypeAdapter[Problem]:
    return TypeAdapter(Problem)


@cache
def _completions() -> TypeAdapter[list[Completion]]:
    return TypeAdapter(list[Completion])


@dataclass(frozen=True, slots=True)
class _Unread:
    reason: str


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return _Unread(f"not valid JSON: {json_fault(error)}")


def _shape(row: Mapping[str, Any]) -> Shape:
    if {"completions", "verdicts", "prompt_format"} <= row.keys():
        return "distill"
    return "lm-eval" if {"doc", "resps"} <= row.keys() else "rows"


def _lm_eval_problem(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the data set's own row, and lm-eval's target where it has no such column."""
    doc = row["doc"] if isinstance(row.get("doc"), dict) else {}
    return {"target": row.get("target"), **doc}


def _name(row: Mapping[str, Any]) -> str:
    """What a row that cannot be scored is called."""
    return str(next((row[name] for name in ("id", "question_id", "doc_id") if name in row), ""))[:MAX_NAME]


def _first_of(names: tuple[str, ...], columns: list[str]) -> str | None:
    return next((name for name in names if name in columns), None)
