"""Score completions that exist already: the same report as of a live evaluation, and no model is loaded.

A folder holds ``verdicts.jsonl``, one line for each completion, and for each benchmark (of each model, where there
are several) a subfolder with ``report.json`` and ``results.json``.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from distill.config import EvalConfig
from distill.errors import DistillError
from distill.evals.lm_eval import write_results
from distill.evals.recorded_problems import RecordedProblems, recorded_problems
from distill.evals.recordings import Recording, RecordingFile, find_recordings
from distill.evals.report import REPORT_FILE, Report, problem_result, tallied_report, write_report
from distill.evals.store import COMPLETIONS_FILE, JudgedGroup
from distill.evals.subject import Subject
from distill.evals.tally import Tally
from distill.evals.versions import evaluation_versions
from distill.files import atomic_file
from distill.fingerprints import file_fingerprint
from distill.models import load_tokenizer
from distill.problems import Rejected
from distill.problems.rejection import RowRejectedError
from distill.records import Completion, Group, Outcome, Prompt
from distill.verifiers import Judge, gold_problem, open_judge
from distill.verifiers.limits import WITHOUT_EFFECT

VERDICTS_FILE = "verdicts.jsonl"
MAX_FOLDER_NAME = 100
MAX_ID = 80
"""Characters that are shown of what a row that cannot be scored calls itself."""
NO_PROMPT = Prompt((), "plain", "")
Progress = Callable[[str, int, int | None], None]
Note = Callable[[str], None]


def rescore(
    config: EvalConfig, out: Path | None = None, *, progress: Progress | None = None, note: Note | None = None
) -> list[Report]:
    """Score the completions at ``recorded.path``: a report for each model and benchmark that the files hold.

    Args:
        config: ``model`` names the model of rows that tell none, ``benchmarks`` at most one benchmark.
        out: folder for the verdicts and reports; None keeps nothing on disk.
        progress: called with a benchmark, the rows read since the last call, and None.
        note: called with a line that says what a file was taken for.

    Raises:
        DistillError: no completions there, columns that cannot be found, a rule or verifier that does not exist.
    """
    if config.recorded.path is None:
        raise DistillError("no completions are named", hint="say --from FILE, or set recorded.path")
    if len(config.benchmarks) > 1:
        raise DistillError(
            f"recorded completions are scored on one benchmark, but {len(config.benchmarks)} are named",
            hint="leave them out where the files tell, or score one benchmark at a time",
        )
    files = [RecordingFile(path, config.recorded) for path in find_recordings(Path(config.recorded.path).expanduser())]
    _check_distinct(files)
    scorings: dict[str, _Scoring] = {}
    with ExitStack() as stack:
        lines = stack.enter_context(_verdict_file(out)) if out is not None else None
        for file in files:
            problems = recorded_problems(file, config)
            if note is not None:
                note(f"{file.describe()}; {problems.note}")
            name = problems.benchmark.full_name
            if name not in scorings:
                scorings[name] = stack.enter_context(_Scoring(config, problems))
            scorings[name].read(file, problems, lines, progress or (lambda *_: None))
        reports = [report for scoring in scorings.values() for report in scoring.reports()]
        if not reports:
            raise _nothing_scored(config.recorded.path, list(scorings.values()))
        if out is not None:
            _write(reports, out)
    return reports


@dataclass(slots=True)
class _OfModel:
    """What was scored of one model, and how the first file of it says it was made."""

    tally: Tally
    settings: dict[str, Any]


class _Scoring:
    """One benchmark while its completions are scored."""

    def __init__(self, config: EvalConfig, problems: RecordedProblems) -> None:
        self.config = config
        self.benchmark = problems.benchmark
        self.judge: Judge = open_judge(problems.benchmark.verifier)
        self.rejected: list[Rejected] = []
        self.unverifiable: dict[str, str] = {}
        self.ids = problems.ids
        self.models: dict[str, _OfModel] = {}
        self._tokenizer = load_tokenizer(config.recorded.tokenizer) if config.recorded.tokenizer else None
        self._files: list[dict[str, str]] = []
        Tally(self.benchmark, config.rules)  # a rule that does not exist is said now

    def __enter__(self) -> _Scoring:
        return self

    def __exit__(self, *_: object) -> None:
        self.judge.close()

    def read(
        self, file: RecordingFile, problems: RecordedProblems, lines: IO[bytes] | None, progress: Progress
    ) -> None:
        """Score every row of a file."""
        self._files.append({"name": file.path.name, "fingerprint": file_fingerprint(file.path)})
        count = 0
        for item in file:
            if count == self.config.limit:
                break
            count += 1
            progress(self.benchmark.full_name, 1, None)
            if isinstance(item, Rejected):
                self.rejected.append(item)
                continue
            try:
                problem = problems.problem_of(item)
            except RowRejectedError as reason:
                self.rejected.append(Rejected(item.number, str(item.row.get("id", ""))[:MAX_ID], str(reason)))
                continue
            for model, completions in self._by_model(file, item):
                self._score(file, item.number, Group(problem, NO_PROMPT, completions, model), lines)

    def reports(self) -> Iterator[Report]:
        """One report for each model."""
        versions = evaluation_versions(self.judge)
        for model, scored in self.models.items():
            subject = Subject(model, "", Path(model).name or model, digest="")
            benchmark = replace(self.benchmark, rejected=tuple(self.rejected))
            report = tallied_report(subject, benchmark, scored.tally, scored.settings, versions)
            absent = len(self.ids - scored.tally.results.keys())
            yield replace(report, unverifiable=dict(self.unverifiable), absent=absent)

    def _by_model(self, file: RecordingFile, item: Recording) -> Iterator[tuple[str, tuple[Completion, ...]]]:
        found: defaultdict[str, list[Completion]] = defaultdict(list)
        for completion in item.completions:
            unnamed = completion.model == file.model
            found[(self.config.model if unnamed else "") or completion.model].append(self._counted(completion))
        if not found:
            found[self.config.model or file.model] = []
        yield from ((model, tuple(completions)) for model, completions in found.items())

    def _score(self, file: RecordingFile, number: int, group: Group, lines: IO[bytes] | None) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        verdicts = self.judge.judge_group(group)
        judged = JudgedGroup(group, verdicts, time.process_time() - cpu, time.perf_counter() - wall)
        model = group.teacher
        if model not in self.models:
            tally = Tally(self.benchmark, self.config.rules, self.judge)
            self.models[model] = _OfModel(tally, self._settings(file, model))
        try:
            ruled = self.models[model].tally.add(problem_result(judged), judged)
        except DistillError as error:
            self.rejected.append(Rejected(number, group.problem.id, str(error)))
            return
        problem = group.problem
        if any(verdict.outcome is Outcome.UNVERIFIED for verdict in verdicts):
            reason = gold_problem(problem, judge=self.judge)
            self.unverifiable.update({problem.id: reason} if reason else {})
        if lines is not None:
            for verdict, by_rule in zip(verdicts, ruled, strict=True):
                line = {
                    "benchmark": self.benchmark.full_name,
                    "model": model,
                    "id": problem.id,
                    "gold": problem.answer,
                    "outcome": verdict.outcome,
                    "answer": verdict.answer,
                    "reason": verdict.reason,
                    **({"rules": by_rule} if by_rule else {}),
                }
                lines.write(json.dumps(line).encode() + b"\n")

    def _counted(self, completion: Completion) -> Completion:
        if completion.num_tokens >= 0 or self._tokenizer is None:
            return completion
        num_tokens = len(self._tokenizer(completion.text, add_special_tokens=False, verbose=False)["input_ids"])
        return replace(completion, num_tokens=num_tokens)

    def _settings(self, file: RecordingFile, model: str) -> dict[str, Any]:
        verifier = self.benchmark.verifier.model_dump(mode="json", exclude=set(WITHOUT_EFFECT))
        return {
            **file.settings,
            "model": model,
            "benchmark": self.benchmark.full_name,
            "recorded": {"files": self._files},
            "verifier": {**verifier, "versions": self.judge.versions()},
        }


def _check_distinct(files: Sequence[RecordingFile]) -> None:
    """Raise where two files would be taken for more completions of the same problems by the same model."""
    seen: dict[tuple[str, str, str], Path] = {}
    for file in files:
        if file.shape != "rows":
            what = (file.model, file.task, str(file.settings.get("benchmark", "")))
            if what in seen:
                raise DistillError(
                    f"'{seen[what]}' and '{file.path}' hold the same problems, answered by the same model",
                    hint="score them one at a time: --from one of the files",
                )
            seen[what] = file.path


def _verdict_file(out: Path) -> Any:
    if (out / COMPLETIONS_FILE).exists():
        raise DistillError(f"'{out}' holds an evaluation already", hint="use another --out")
    out.mkdir(parents=True, exist_ok=True)
    return atomic_file(out / VERDICTS_FILE)


def _write(reports: Sequence[Report], out: Path) -> None:
    models = list(dict.fromkeys(report.model for report in reports))
    folders = _folders(models) if len(models) > 1 else dict.fromkeys(models, "")
    for report in reports:
        path = out / folders[report.model] / _folder_name(report.name)
        if (path / COMPLETIONS_FILE).exists():
            raise DistillError(f"'{path}' holds an evaluation already", hint="use another --out")
        path.mkdir(parents=True, exist_ok=True)
        write_report(report, path / REPORT_FILE)
        write_results([report], path)


def _folders(models: Sequence[str]) -> dict[str, str]:
    """A folder for each model; those whose names are alike in a file system's characters get a number."""
    taken: Counter[str] = Counter()
    folders = {}
    for model in models:
        name = _folder_name(model)
        taken[name] += 1
        folders[model] = name if taken[name] == 1 else f"{name}-{taken[name]}"
    return folders


def _folder_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip(".")[:MAX_FOLDER_NAME] or "unnamed"


def _nothing_scored(path: str, scorings: Sequence[_Scoring]) -> DistillError:
    rejected = [item for scoring in scorings for item in scoring.rejected]
    first = f": row {rejected[0].row} {rejected[0].id} {rejected[0].reason}" if rejected else ""
    return DistillError(
        f"no completion of '{path}' can be scored{first}",
        hint="name the columns: --set recorded.completions=NAME, source.columns.answer=NAME ...",
    )
