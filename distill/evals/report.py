"""What one model did on one benchmark: a record, written as JSON and read back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from distill.errors import DistillError
from distill.evals.benchmarks import Benchmark, benchmark_name
from distill.evals.chance import Interval, accuracy_interval
from distill.evals.majority import majority_at_k
from distill.evals.metrics import (
    Means,
    TemplateAdherence,
    mean_tokens,
    means,
    pass_at_k,
    powers_of_two,
    share,
    template_adherence,
    verbosity_ratio,
)
from distill.evals.store import JudgedGroup
from distill.evals.subject import Subject
from distill.evals.tally import Part, RuleResult, Tally, macro_mean
from distill.files import write_atomically
from distill.problems import Rejected
from distill.records import Outcome, Problem

if TYPE_CHECKING:
    from distill.verifiers import Judge

REPORT_VERSION = 1
REPORT_FILE = "report.json"
LM_EVAL = "lm-eval"
"""The backend of reports that lm-evaluation-harness made by log-likelihoods."""
NO_REPORT_HINT = "name the folder that 'distill eval' wrote; 'distill inspect' shows datasets"


@dataclass(frozen=True, slots=True)
class ProblemResult:
    """One problem's completions as judged; the tuples are parallel."""

    id: str
    fingerprint: str
    """Of question and gold answer: ids of files without ids of their own are mere numbers."""
    outcomes: tuple[Outcome, ...]
    num_tokens: tuple[int, ...]
    """-1 where it is not known."""
    cluster: str = ""
    """The same for problems that are variants of one another, such as those of one seed problem of GSM-Plus."""
    answers: tuple[str, ...] = ()
    """A hash of each answer as it was read, in lower case; empty where there is none."""
    text: str = ""
    """A hash of the completion's text; empty where there is not just one completion."""

    @property
    def score(self) -> float:
        """Share of the completions that are correct; one that could not be verified is not. 0 where there is none.

        >>> ProblemResult("1", "", (Outcome.CORRECT, Outcome.UNVERIFIED), (5, 7)).score
        0.5
        """
        return self.num_correct / len(self.outcomes) if self.outcomes else 0.0

    @property
    def num_correct(self) -> int:
        """How many of the completions are correct."""
        return sum(outcome is Outcome.CORRECT for outcome in self.outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One model on one benchmark. Rates are shares of all completions, accuracy is over all problems."""

    model: str
    """As it was given."""
    label: str
    """Short name for tables: the method of a student trained here, else the last part of the model's name."""
    benchmark: str
    split: str
    num_problems: int
    num_completions: int
    accuracy: float
    """Mean over problems of the share of correct completions (avg@N); unverified is not correct."""
    interval: Interval
    """Of the accuracy, 95 %; it allows for the likeness of one problem's completions, and of one cluster's problems."""
    pass_at_k: Mapping[int, float]
    """k -> mean over problems; k = 1, 2, 4 ... and empty for one completion per problem."""
    majority_at_k: Mapping[int, float] = field(default_factory=dict)
    """k -> mean over problems of the chance that the right answer has most votes of k; for the same k."""
    no_answer_rate: float
    truncation_rate: float
    unverified: int
    """Completions that could not be verified: a time-out, a gold answer that cannot be read ..."""
    unverifiable: Mapping[str, str] = field(default_factory=dict)
    """Problem -> why its gold answer cannot be read; all of its completions are among the unverified."""
    unanswered: int
    """Problems without any completion, such as those too long for the model; they count as not correct."""
    mean_tokens: Means
    verbosity_ratio: float | None
    """Mean tokens of incorrect over mean tokens of correct completions."""
    degeneracy: Means
    """Mean number of repetitions of a phrase that stands three times in a row or more."""
    ngram_repetition: Means
    """Mean share of 3-grams that have stood before."""
    template: TemplateAdherence
    cpu_seconds: float
    """CPU time of sampling and judging in this process, all threads; loading the model is left out."""
    wall_seconds: float
    train_cpu_seconds: float | None
    """CPU time of the training, for a student trained here."""
    settings: Mapping[str, Any]
    """Everything that changes the result: sampling, seed, prompt, verifier, the model's files ..."""
    versions: Mapping[str, str]
    rejected: tuple[Rejected, ...] = ()
    """Rows of the benchmark that make no problem, or of recorded completions that cannot be scored; none counts."""
    absent: int = 0
    """Problems of the benchmark that a file of recorded completions has nothing of; they do not count."""
    by: str = ""
    """What ``parts`` are told apart by: task, category ..."""
    parts: tuple[Part, ...] = ()
    macro_accuracy: float | None = None
    """The mean of the parts' accuracies; ``accuracy`` is the micro mean, in which every problem counts the same."""
    flexible_accuracy: float | None = None
    """Accuracy where an answer that is only there, not stated, counts as well; None where it was not read for."""
    solvable_accuracy: float | None = None
    """Accuracy without the problems that have no solution, which some harnesses leave out; None where all have one."""
    rules: Mapping[str, RuleResult] = field(default_factory=dict)
    """What the rules of others say of the same completions."""
    problems: tuple[ProblemResult, ...] = field(repr=False)
    """In the benchmark's order."""
    report_version: int = REPORT_VERSION

    @property
    def name(self) -> str:
        """The benchmark with its split, as columns of a comparison are called."""
        return benchmark_name(self.benchmark, self.split)

    @property
    def is_by_likelihood(self) -> bool:
        """True where the model wrote nothing, and the likeliest of several texts was taken for its answer."""
        return self.settings.get("backend") == LM_EVAL

    @property
    def completions_per_problem(self) -> int:
        """The most completions that any problem has."""
        return _most_completions(self.problems)


def build_report(
    subject: Subject,
    benchmark: Benchmark,
    judged: Iterable[JudgedGroup],
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
    rules: Sequence[str] = (),
    judge: Judge | None = None,
) -> Report:
    """Measure what was judged, in the order given.

    Args:
        rules: rules of others that are applied, too.
        judge: reads what has no right answer once more, loosely.

    Raises:
        DistillError: nothing was judged, or the benchmark has no such rule.
    """
    tally = Tally(benchmark, rules, judge)
    for item in judged:
        tally.add(problem_result(item), item)
    return tallied_report(subject, benchmark, tally, settings, versions)


def tallied_report(
    subject: Subject, benchmark: Benchmark, tally: Tally, settings: Mapping[str, Any], versions: Mapping[str, str]
) -> Report:
    """What a tally comes to.

    Raises:
        DistillError: it has counted nothing.
    """
    if not tally.results:
        raise DistillError(
            f"no problem of '{benchmark.full_name}' has a completion", hint="look at what the backend returned"
        )
    problems, measurements, parts = tuple(tally.results.values()), tally.measurements, tally.parts()
    scores = [problem.score for problem in problems]
    tokens = mean_tokens(measurements)
    return Report(
        model=subject.model,
        label=subject.label,
        benchmark=benchmark.name,
        split=benchmark.split,
        num_problems=len(problems),
        num_completions=len(measurements),
        accuracy=fsum(scores) / len(scores),
        interval=accuracy_interval(scores, _most_completions(problems), clusters=clusters(problems)),
        pass_at_k=_mean_pass_at_k(problems),
        majority_at_k=_mean_majority_at_k(problems),
        no_answer_rate=share(item.outcome is Outcome.NO_ANSWER for item in measurements),
        truncation_rate=share(item.is_truncated for item in measurements),
        unverified=sum(item.outcome is Outcome.UNVERIFIED for item in measurements),
        unanswered=sum(not problem.outcomes for problem in problems),
        mean_tokens=tokens,
        verbosity_ratio=verbosity_ratio(tokens),
        degeneracy=means(measurements, lambda item: item.repeated_phrases),
        ngram_repetition=means(measurements, lambda item: item.ngram_repetition),
        template=template_adherence(measurements),
        cpu_seconds=tally.cpu_seconds,
        wall_seconds=tally.wall_seconds,
        train_cpu_seconds=subject.train_cpu_seconds,
        settings=settings,
        versions=versions,
        rejected=benchmark.rejected,
        by=tally.by if parts else "",
        parts=parts,
        macro_accuracy=macro_mean(parts),
        flexible_accuracy=tally.flexible_accuracy(),
        solvable_accuracy=tally.solvable_accuracy(),
        rules=tally.rules(),
        problems=problems,
    )


def problem_result(judged: JudgedGroup) -> ProblemResult:
    """What a report keeps of one judged group."""
    outcomes = tuple(verdict.outcome for verdict in judged.verdicts)
    num_tokens = tuple(completion.num_tokens for completion in judged.group.completions)
    problem = judged.group.problem
    asked = json.dumps([problem.question, problem.answer, problem.options]).encode()
    answers = tuple(_answer_digest(verdict.answer) for verdict in judged.verdicts)
    completions = judged.group.completions
    text = _short_digest(completions[0].text) if len(completions) == 1 else ""
    return ProblemResult(problem.id, _digest(asked), outcomes, num_tokens, _cluster(problem), answers, text)


def _answer_digest(answer: str | None) -> str:
    words = " ".join((answer or "").lower().split())
    return sys.intern(_short_digest(words)) if words else ""  # one text for all who say the same


def _short_digest(text: str) -> str:
    return _digest(text.encode(errors="surrogatepass"))[:8]


def _cluster(problem: Problem) -> str:
    seed_problem = json.loads(problem.metadata).get("seed_problem")
    return _digest(json.dumps(seed_problem).encode()) if seed_problem else ""


def _digest(text: bytes) -> str:
    return blake2b(text, digest_size=6).hexdigest()


def clusters(problems: Sequence[ProblemResult]) -> tuple[str, ...] | None:
    """The cluster of each problem, one without being a cluster of its own; None where no two problems share one.

    >>> clusters([ProblemResult(name, "", (), (), cluster) for name, cluster in (("1", "a"), ("2", "a"), ("3", ""))])
    ('a', 'a', 'problem 3')
    """
    found = tuple(problem.cluster or f"problem {problem.id}" for problem in problems)
    return found if len(set(found)) < len(found) else None


def _most_completions(problems: Sequence[ProblemResult]) -> int:
    return max(1, *(len(problem.outcomes) for problem in problems))


def _mean_pass_at_k(problems: Sequence[ProblemResult]) -> dict[int, float]:
    """k -> mean of pass@k over problems, for every k that the answered ones allow; empty for one completion each."""
    answered = [(len(problem.outcomes), problem.num_correct) for problem in problems if problem.outcomes]
    fewest = min((num_completions for num_completions, _ in answered), default=1)
    if fewest == 1:
        return {}
    return {k: fsum(pass_at_k(n, correct, k) for n, correct in answered) / len(problems) for k in powers_of_two(fewest)}


def _mean_majority_at_k(problems: Sequence[ProblemResult]) -> dict[int, float]:
    """k -> mean of maj@k over problems, for the same k; one without completions is not won."""
    answered = [problem for problem in problems if problem.outcomes]
    return {
        k: fsum(majority_at_k(problem.outcomes, problem.answers, k) for problem in answered) / len(problems)
        for k in _mean_pass_at_k(problems)
    }


def write_report(report: Report, path: Path) -> None:
    """Write a report in one piece: a reader sees the old file or the new one, never half of one.

    One line per problem, below an indented head that people can read.
    """
    values = _adapter().dump_python(report, mode="json")
    problems = values.pop("problems")
    head = json.dumps(values, indent=2).removesuffix("\n}")
    lines = ",\n".join(f"    {json.dumps(problem)}" for problem in problems)
    write_atomically(path, f'{head},\n  "problems": [\n{lines}\n  ]\n}}\n')


def read_report(path: Path) -> Report:
    """Read a report back.

    Raises:
        DistillError: there is no such file, it is no report, or a newer distill wrote it.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values["report_version"]
    except FileNotFoundError:
        raise DistillError(f"there is no report '{path}'", hint="'distill eval' makes one") from None
    except (ValueError, KeyError, TypeError):
        raise DistillError(f"'{path}' is not a report of 'distill eval'", hint=NO_REPORT_HINT) from None
    if version != REPORT_VERSION:
        raise DistillError(
            f"'{path}' has report version {version}, this distill reads version {REPORT_VERSION}",
            hint="evaluate again, or install the distill that wrote it",
        )
    try:
        return _adapter().validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DistillError(
            f"'{path}' is not a report of 'distill eval': {place}: {first['msg'].lower()}", hint=NO_REPORT_HINT
        ) from None


def find_reports(path: Path) -> list[Path]:
    """The reports at a path: the file itself, that of a folder, or those of the folders inside it.

    Raises:
        DistillError: there is none.
    """
    if not path.is_dir():
        return [path]
    if (path / REPORT_FILE).is_file():
        return [path / REPORT_FILE]
    found = sorted(path.glob(f"*/{REPORT_FILE}"))
    if not found:
        raise DistillError(f"'{path}' holds no {REPORT_FILE}", hint="'distill eval --out FOLDER' writes them")
    return found


@cache
def _adapter() -> TypeAdapter[Report]:
    return TypeAdapter(Report)
