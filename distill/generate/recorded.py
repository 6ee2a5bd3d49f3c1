"""Completions that already exist, in a file: to judge, score and train on what others have sampled.

A row is joined to its problem by id or, where there is none, by the question, whose white space does
not count. The file may be larger than memory: what is kept of a row is 9 bytes.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError
from distill.generate.base import BackendOptions, OnProgress
from distill.generate.recorded_fields import Fields, read_completions, read_path, resolve_fields
from distill.generate.recorded_file import RowFile, open_rows
from distill.models import TINY_MODELS, load_tokenizer, tokenizer_fingerprint
from distill.records import Completion, EntropyKind, Group, Problem, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


ROWS_PER_STEP = 16
"""Only every so many rows the position is kept; the rows before the wanted one are passed over."""


class RecordedBackend:
    """Reads completions instead of sampling them.

    Every row is looked at once when the backend is opened, so that a malformed file is reported before
    any work is done. A completion's tokens come from the row's token ids, else the row's count, else
    from ``recorded.tokenizer``, which adds its end token where the completion is known to have stopped.
    """

    entropy_kind: EntropyKind = "none"

    notes: tuple[str, ...] = ()

    def __init__(self, options: BackendOptions) -> None:
        config = options.recorded
        if config.path is None:
            raise DistillError("the recorded backend needs a file of completions", hint="set recorded.path")
        # the tiny teacher is the default of teacher.model, and has recorded nothing
        label = options.teacher.model
        self.teacher = Path(config.path).name.partition(".")[0] if label in TINY_MODELS else label
        self.num_surplus = 0
        """Completions left out so far, because their problem had more than ``sampling.num_completions``."""
        self._wanted = options.sampling.num_completions
        self._file = open_rows(Path(config.path))
        with ExitStack() as on_error:
            on_error.callback(self.close)
            self._fields = resolve_fields(config, self._file.columns)
            self._file.keep_columns(sorted(self._fields.columns()))
            self.tokenizer: PreTrainedTokenizerBase | None = None
            if config.tokenizer:
                self.tokenizer = load_tokenizer(config.tokenizer)
            self.tokenizer_fingerprint = tokenizer_fingerprint(self.tokenizer) if self.tokenizer else ""
            self._index = _Index(self._file, self._fields, has_tokenizer=self.tokenizer is not None)
            on_error.pop_all()

    def sample(self, items: Iterable[tuple[Problem, Prompt]], on_progress: OnProgress | None = None) -> Iterator[Group]:
        """Yield the recorded group of every problem, in the order of ``items``; see ``Backend.sample``.

        A group has as many completions as are recorded, up to ``sampling.num_completions``; the first ones
        in the file are taken.
        """
        for problem, prompt in items:
            completions = self._recorded(problem)
            self.num_surplus += max(0, len(completions) - self._wanted)
            finished = tuple(
                replace(self._counted(completion), think_opened=prompt.opens_think)
                for completion in completions[: self._wanted]
            )
            if on_progress is not None:
                on_progress(sum(completion.num_tokens for completion in finished))
            yield Group(problem, prompt, finished, self.teacher, self.tokenizer_fingerprint, self.entropy_kind)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _recorded(self, problem: Problem) -> list[Completion]:
        """All completions of a problem, in the order of the file."""
        key = _normalised(problem.question if self._fields.by_question else problem.id)
        completions: list[Completion] = []
        for position, skipped in self._index.positions(key):
            row = self._file.read(position, skipped)
            if _key(row, self._fields, "") == key:  # two keys may share a hash
                completions += read_completions(row, self._fields, f"the row of problem '{problem.id}'")
        return completions

    def _counted(self, completion: Completion) -> Completion:
        """The completion with its tokens, from the tokenizer where the row does not tell."""
        if completion.num_tokens >= 0 or self.tokenizer is None:
            return completion
        encoded: Any = self.tokenizer(completion.text, add_special_tokens=False, verbose=False)["input_ids"]
        end_id = self.tokenizer.eos_token_id
        ended = completion.finish_reason == "stop" and end_id is not None
        token_ids = (*encoded, end_id) if ended else tuple(encoded)
        return replace(completion, token_ids=token_ids, num_tokens=len(token_ids))


class _Index:
    """Where the rows of a key stand: sorted pairs of half a hash and a row's number, 8 bytes a row."""

    def __init__(self, file: RowFile, fields: Fields, *, has_tokenizer: bool) -> None:
        """Read every row once, and so check it."""
        import numpy as np

        entries, steps = array("Q"), array("q")
        for number, (position, where, row) in enumerate(file.rows()):
            for completion in read_completions(row, fields, where):
                if completion.num_tokens < 0 and not has_tokenizer:
                    raise DistillError(
                        f"{where} does not tell how many tokens a completion has",
                        hint="--tokenizer MODEL counts them (recorded.tokenizer)",
                    )
            entries.append(_hash(_key(row, fields, where)) << 32 | number)
            if number % ROWS_PER_STEP == 0:
                steps.append(position)
        self._entries = np.frombuffer(entries, dtype=np.uint64)
        self._entries.sort()
        self._steps = steps

    def positions(self, key: str) -> list[tuple[int, int]]:
        """Where the rows of this key stand, in the order of the file: (a position at or before it, rows to skip)."""
        import numpy as np

        wanted = _hash(key) << 32
        first = np.searchsorted(self._entries, np.uint64(wanted))
        end = np.searchsorted(self._entries, np.uint64(wanted | 0xFFFFFFFF), side="right")
        numbers = (int(entry) & 0xFFFFFFFF for entry in self._entries[int(first) : int(end)])
        return [(self._steps[number // ROWS_PER_STEP], number % ROWS_PER_STEP) for number in numbers]


def _key(row: dict[str, Any], fields: Fields, where: str) -> str:
    value = read_path(row, fields.key, where)
    if value is None or isinstance(value, dict | list):
        raise DistillError(
            f"{where}: '{fields.key}' is '{value}', expected an id or a question",
            hint="--set recorded.id=NAME or recorded.question=NAME names the column that joins rows to problems",
        )
    return _normalised(str(value))


def _normalised(text: str) -> str:
    return " ".join(text.split())


def _hash(key: str) -> int:
    """32 bits; rows of another key with the same ones are told apart when they are read."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big")
