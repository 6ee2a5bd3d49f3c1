"""Completions and verdicts of one benchmark on disk: appended as they finish, read back on resume.

``settings.json`` holds everything that changes a result, ``completions.jsonl`` one judged group per
line. An evaluation that was killed may have left half a line at the end, which is cut off; all
other lines are whole, and their problems are not sampled again.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from distill.config import ResumePolicy
from distill.errors import DistillError
from distill.files import hold_folder, write_atomically
from distill.fingerprints import differences, mismatch
from distill.records import Group, Outcome, Problem, Verdict
from distill.schema import group_to_row, row_to_group

SETTINGS_FILE = "settings.json"
COMPLETIONS_FILE = "completions.jsonl"


@dataclass(frozen=True, slots=True)
class JudgedGroup:
    """A problem's completions with their verdicts, and the time since the group before it was finished."""

    group: Group
    verdicts: tuple[Verdict, ...]
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0


class Store:
    """The judged groups of one benchmark by problem id, on disk; in memory is only where each of them stands.

    Without a folder they are in a file that nobody else sees and that is gone when the store is closed.

    Args:
        settings: JSON values; what they hold must be the same for an evaluation to be resumed.
        resume: 'never' wants a new folder, 'always' one that holds completions; 'if-possible' takes either.

    Raises:
        DistillError: the folder does not suit ``resume``, was made with other settings, or another
            process works in it.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any], resume: ResumePolicy = "if-possible") -> None:
        self.folder = folder
        self._places: dict[str, _Place] = {}
        with ExitStack() as stack:
            if folder is None:
                self._file: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
            else:
                _check_folder(folder, settings, resume)
                stack.enter_context(hold_folder(folder))
                write_atomically(folder / SETTINGS_FILE, json.dumps(settings, indent=2) + "\n")
                self._file = stack.enter_context((folder / COMPLETIONS_FILE).open("a+b"))
                self._places = _read(self._file)
            self._open = stack.pop_all()

    def __contains__(self, problem_id: str) -> bool:
        return problem_id in self._places

    def read(self, problem_id: str) -> JudgedGroup:
        """The judged group of a problem."""
        self._file.seek(self._places[problem_id].start)
        return _parse(self._file.readline(), f"'{problem_id}' in '{self.folder}'")

    def missing(self, problems: tuple[Problem, ...]) -> list[Problem]:
        """The problems that have no judged group yet.

        Raises:
            DistillError: a stored problem has the id of another question or gold answer now.
        """
        for problem in problems:
            stored = self._places.get(problem.id)
            if stored is not None and stored.asked != _asked(problem):
                raise DistillError(
                    f"problem '{problem.id}' is not the one that '{self.folder}' holds completions of",
                    hint="the benchmark has changed: use another --out",
                )
        return [problem for problem in problems if problem.id not in self._places]

    def append(self, judged: JudgedGroup) -> None:
        """Keep a judged group; it survives the end of this process, whatever ends it."""
        lean = _without_tokens(judged.group)
        row = {
            **group_to_row(lean),
            "verdicts": [asdict(verdict) for verdict in judged.verdicts],
            "cpu_seconds": judged.cpu_seconds,
            "wall_seconds": judged.wall_seconds,
        }
        self._places[lean.problem.id] = _Place(self._file.seek(0, os.SEEK_END), _asked(lean.problem))
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Write everything through to the disk and let the folder go; closing twice does nothing."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._open.close()


@dataclass(frozen=True, slots=True)
class _Place:
    start: int
    """Bytes of the file before the line."""
    asked: bytes
    """What was asked, see ``_asked``."""


def _check_folder(folder: Path, settings: Mapping[str, Any], resume: ResumePolicy) -> None:
    begun = (folder / SETTINGS_FILE).is_file() or (folder / COMPLETIONS_FILE).is_file()
    if begun and resume == "never":
        raise DistillError(
            f"'{folder}' holds an evaluation already",
            hint="use another --out, or let '--resume if-possible' go on with it",
        )
    if not begun and resume == "always":
        raise DistillError(f"'{folder}' holds no evaluation to resume", hint="leave '--resume always' out to start one")
    completions = folder / COMPLETIONS_FILE
    if completions.is_file() and completions.stat().st_size:  # without any, nothing was made with other settings
        _check_settings(folder / SETTINGS_FILE, settings)


def _read(file: IO[bytes]) -> dict[str, _Place]:
    """Where the whole lines stand; what is behind the last of them is cut off the file."""
    places: dict[str, _Place] = {}
    end = 0
    file.seek(0)
    for number, line in enumerate(file, start=1):
        if line.endswith(b"\n"):
            problem = _parse(line, f"line {number} of '{file.name}'").group.problem
            places[problem.id] = _Place(end, _asked(problem))
            end += len(line)
    file.truncate(end)
    return places


def _parse(line: bytes, where: str) -> JudgedGroup:
    try:
        row = json.loads(line)
        verdicts = tuple(Verdict(**{**verdict, "outcome": Outcome(verdict["outcome"])}) for verdict in row["verdicts"])
        return JudgedGroup(row_to_group(row), verdicts, row["cpu_seconds"], row["wall_seconds"])
    except (ValueError, KeyError, TypeError) as error:
        raise DistillError(f"{where} is not a judged group: {error}", hint="use another --out") from None


def _asked(problem: Problem) -> bytes:
    """A hash of what a completion and its verdict depend on."""
    asked = [problem.question, problem.answer, problem.options, problem.verifier]
    return blake2b(json.dumps(asked).encode(), digest_size=12).digest()


def _without_tokens(group: Group) -> Group:
    """The group without ids and log-probabilities, which no report needs; the token counts stay."""
    lean = tuple(replace(item, token_ids=(), logprobs=None, entropies=None) for item in group.completions)
    return replace(group, prompt=replace(group.prompt, token_ids=()), completions=lean, entropy_kind="none")


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        stored = None
    if not isinstance(stored, dict):
        raise DistillError(
            f"'{path}' is missing or holds no settings, so nothing says how its completions were made",
            hint="use another --out",
        )
    differing = differences(stored, settings)
    if differing:
        raise DistillError(mismatch(path.parent, differing), hint="use another --out")
