"""Completions of requests, read for their safety: from folders of 'distill eval', or any JSON Lines.

A line of a file holds a request and a completion, and may hold whether the request is harmful and what
people said of the completion, as XSTest's recorded completions do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.cards import card_names, load_card
from distill.errors import DistillError
from distill.evals.report import REPORT_FILE, Report, find_reports, read_report
from distill.evals.rescore import VERDICTS_FILE
from distill.evals.safety import Answered, Word
from distill.evals.store import COMPLETIONS_FILE
from distill.problems.rows import file_rows
from distill.schema import row_to_group

REQUESTS = ("request", "prompt", "question", "goal")
TEXTS = ("completion", "text", "output", "response")
WANTED = {"refusal": True, "unsafe": True, "harmful": True, "": True, "compliance": False, "safe": False}
"""What a line says is wanted of a completion, or of its request -> whether the request is harmful."""
COMPLIED = "1_full_compliance"
"""XSTest's label of a completion that refuses neither in full nor in part."""
CONTRAST = "contrast"
"""XSTest's types of harmful prompts begin with it."""

Source = tuple[str, str, list[Answered]]
"""Model, benchmark and completions."""


def read_sources(paths: Sequence[Path]) -> list[Source]:
    """The completions of every path: a file of them, a folder of 'distill eval', or of one of its benchmarks.

    Benchmarks of an evaluation that ask for no refusal are passed over.

    Raises:
        DistillError: a path has no completions of requests that a model may refuse, or a line cannot be read.
    """
    sources = [source for path in paths for source in (_evaluated(path) if path.is_dir() else [_recorded(path)])]
    if not sources:
        raise DistillError(
            f"'{paths[0]}' holds no completions of requests that a model may refuse",
            hint="evaluate on them first: distill eval MODEL -b advbench -b xstest",
        )
    return sources


def asks_to_refuse(report: Report) -> bool:
    """Whether a benchmark's own card has refusals judged, and nobody said otherwise."""
    kind = report.settings.get("verifier", {}).get("kind")
    if kind is None and report.benchmark in card_names():
        kind = load_card(report.benchmark).verifier.kind
    return bool(kind == "refusal")


def _evaluated(path: Path) -> Iterator[Source]:
    for file in find_reports(path):
        completions, verdicts = file.parent / COMPLETIONS_FILE, file.parent.parent / VERDICTS_FILE
        if file.name != REPORT_FILE or not (completions.is_file() or verdicts.is_file()):
            continue
        report = read_report(file)
        answered = list(_stored(completions) if completions.is_file() else _scored(verdicts, report))
        if answered:
            yield report.label, report.name, answered


def _stored(path: Path) -> Iterator[Answered]:
    """What an evaluation keeps; nothing as soon as a problem is not about refusing."""
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):  # an evaluation that was killed, or is still going on
                return
            group = row_to_group(json.loads(line))
            if group.problem.answer not in ("refusal", "compliance", ""):  # AdvBench has no gold
                return
            for item in group.completions:
                yield Answered(
                    id=group.problem.id,
                    request=group.problem.question,
                    text=item.text,
                    is_harmful=WANTED.get(group.problem.answer, True),
                    finish_reason=item.finish_reason,
                    think_opened=item.think_opened,
                )


def _scored(path: Path, report: Report) -> Iterator[Answered]:
    """What 'distill eval --from' keeps: verdicts, and the texts in the file that they were read from."""
    for _, row in file_rows(path):
        if (row["model"], row["benchmark"]) != (report.label, report.name):
            continue
        wanted, outcome = row["gold"], row["outcome"]
        if wanted not in ("refusal", "compliance", ""):
            return
        found = {"correct": True, "incorrect": False}.get(outcome)
        is_harmful = WANTED[wanted]
        word: Word = "unknown" if found is None else "safe" if found == is_harmful else "unsafe"
        yield Answered(str(row["id"]), "", "", is_harmful, refused=word)


def _recorded(path: Path) -> Source:
    answered = []
    for number, row in file_rows(path):
        if not isinstance(row, Mapping):
            raise DistillError(f"line {number} of '{path}' is not an object", hint="one JSON object per line")
        answered.append(_answered(row, number, path))
    name = path.name.partition(".")[0]
    benchmark = "xstest" if any(item.people_say_refused is not None for item in answered) else name
    return name, benchmark, answered


def _answered(row: Mapping[str, Any], number: int, path: Path) -> Answered:
    label = row.get("final_label")
    return Answered(
        id=str(row.get("id", number)),
        request=_first(row, REQUESTS, number, path),
        text=_first(row, TEXTS, number, path),
        is_harmful=_is_harmful(row, number, path),
        finish_reason="length" if row.get("finish_reason") == "length" else "stop",
        people_say_refused=None if label is None else label != COMPLIED,
    )


def _first(row: Mapping[str, Any], names: Sequence[str], number: int, path: Path) -> str:
    found = next((row[name] for name in names if isinstance(row.get(name), str)), None)
    if found is None:
        raise DistillError(
            f"line {number} of '{path}' has no text in any of {', '.join(names)}", hint=f"found: {', '.join(row)}"
        )
    return str(found)


def _is_harmful(row: Mapping[str, Any], number: int, path: Path) -> bool:
    """By the line's own word; a line that says nothing asks for harm, as all of AdvBench does."""
    said = row.get("expected", row.get("label"))
    if said is None:
        kind = str(row.get("type", CONTRAST))
        return kind.startswith(CONTRAST)
    if said not in WANTED:
        raise DistillError(
            f"line {number} of '{path}' expects '{said}'", hint="'refusal' or 'compliance', 'unsafe' or 'safe'"
        )
    return WANTED[said]
