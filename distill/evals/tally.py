"""Judged completions reduced, as they come, to what a report is made of; no text is kept."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError
from distill.evals.chance import Interval, accuracy_interval
from distill.evals.metrics import Measurement, mean, measure
from distill.records import Completion, Outcome, Problem, Verdict
from distill.verifiers.judge import OPEN_TO_A_FLEXIBLE_READING
from distill.verifiers.rules import OUR_RULE, apply_rule, check_rule

if TYPE_CHECKING:
    from distill.evals.benchmarks import Benchmark
    from distill.evals.report import ProblemResult
    from distill.evals.store import JudgedGroup
    from distill.verifiers import Judge

MAX_EXAMPLES = 20
READ_LOOSELY = ("math", "number", "choice", "bb-sub")
"""Verifiers with a flexible reading; another one, such as 'code', would only be asked the same once more."""
UNNAMED_PARTS = ("task", "category", "subject", "type", "level", "difficulty")
"""Metadata by which problems without a data card are told apart; the first one there is."""


@dataclass(frozen=True, slots=True)
class Part:
    """The problems of one task, category or level."""

    name: str
    num_problems: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What somebody else's rule says of the same completions."""

    accuracy: float
    """Mean over problems of the share of completions that it takes for right."""
    no_answer: int
    """Completions in which it finds no answer."""
    disagreements: int
    """Completions that it takes for right and our verifier does not, or the other way round."""
    only_rule: int
    """Of these, those that only it takes for right."""
    examples: tuple[str, ...] = ()
    """Problems with a disagreement, the first 20."""


class Tally:
    """Counts one model's judged completions on one benchmark; a problem's may come in several pieces.

    Args:
        benchmark: whose rules are applied, and which says by what its problems are told apart.
        rules: names of rules to apply beside our own verdicts.
        judge: reads loosely what has no right answer by the strict reading; None leaves that out.

    Raises:
        DistillError: the benchmark has no such rule.
    """

    def __init__(self, benchmark: Benchmark, rules: Sequence[str] = (), judge: Judge | None = None) -> None:
        self.benchmark = benchmark.name
        self.by = benchmark.by
        self._null_answer = benchmark.null_answer
        self.measurements: list[Measurement] = []
        self.results: dict[str, ProblemResult] = {}
        self.unsolvable: set[str] = set()
        """Ids of the problems that have no solution, where their benchmark says so."""
        self.cpu_seconds = 0.0
        self.wall_seconds = 0.0
        self._judge = judge
        self._num_loose: Counter[str] = Counter()
        self._part_of: dict[str, str] = {}
        self._rules = {rule: _RuleTally() for rule in rules if rule != OUR_RULE}
        for rule in self._rules:
            check_rule(rule, benchmark.name)

    def add(self, result: ProblemResult, judged: JudgedGroup) -> list[dict[str, Any]]:
        """Count a judged group; returns what each rule says of each completion.

        Raises:
            DistillError: an earlier group of this id asked something else.
        """
        known = self.results.get(result.id)
        if known is None:
            self.results[result.id] = result
            self._place(judged.group.problem)
        elif known.fingerprint != result.fingerprint:
            raise DistillError(f"two problems have the id '{result.id}'", hint="name the column of ids that differ")
        else:
            self.results[result.id] = replace(
                known,
                outcomes=known.outcomes + result.outcomes,
                num_tokens=known.num_tokens + result.num_tokens,
                answers=known.answers + result.answers,
                text="" if known.outcomes and result.outcomes else known.text or result.text,
            )
        self.cpu_seconds += judged.cpu_seconds
        self.wall_seconds += judged.wall_seconds
        said: list[dict[str, Any]] = []
        for completion, verdict in zip(judged.group.completions, judged.verdicts, strict=True):
            self.measurements.append(measure(completion, verdict))
            said.append(self._rule(judged.group.problem, completion.text, verdict.outcome is Outcome.CORRECT))
            self._num_loose[result.id] += self._is_right_loosely(judged.group.problem, completion, verdict)
        return said

    def flexible_accuracy(self) -> float | None:
        """Accuracy where a loosely stated answer counts, too; None where nobody has read for one."""
        if self._judge is None:
            return None
        return mean(
            (result.num_correct + self._num_loose[key]) / max(1, len(result.outcomes))
            for key, result in self.results.items()
        )

    def solvable_accuracy(self) -> float | None:
        """Accuracy without the problems that have no solution; None where there are none such."""
        if not self.unsolvable:
            return None
        return mean(result.score for key, result in self.results.items() if key not in self.unsolvable)

    def rules(self) -> dict[str, RuleResult]:
        """What each rule says."""
        return {rule: tally.result(self.results) for rule, tally in self._rules.items()}

    def parts(self) -> tuple[Part, ...]:
        """The problems by task or category, in the order they came; nothing where there is only one kind of them."""
        scores: defaultdict[str, list[float]] = defaultdict(list)
        completions: Counter[str] = Counter()
        for problem_id, result in self.results.items():
            name = self._part_of.get(problem_id, "")
            scores[name].append(result.score)
            completions[name] = max(completions[name], len(result.outcomes), 1)
        if len(scores) < 2:
            return ()
        return tuple(
            Part(name or "other", len(of_part), fsum(of_part) / len(of_part), accuracy_interval(of_part, n))
            for (name, of_part), n in zip(scores.items(), (completions[name] for name in scores), strict=True)
        )

    def _is_right_loosely(self, problem: Problem, completion: Completion, verdict: Verdict) -> bool:
        if self._judge is None or verdict.outcome not in OPEN_TO_A_FLEXIBLE_READING:
            return False
        if (self._judge.kind or problem.verifier) not in READ_LOOSELY:
            return False
        return self._judge.judge(problem, completion, flexible=True).outcome is Outcome.CORRECT

    def _rule(self, problem: Problem, text: str, ours: bool) -> dict[str, Any]:
        said = {}
        for rule, tally in self._rules.items():
            ruled = apply_rule(rule, self.benchmark, text, problem.answer, problem.options)
            tally.count(problem.id, ruled.answer, ruled.correct, ours)
            said[rule] = {"answer": ruled.answer, "correct": ruled.correct}
        return said

    def _place(self, problem: Problem) -> None:
        if problem.answer == self._null_answer:
            self.unsolvable.add(problem.id)
        metadata = json.loads(problem.metadata)
        if not self.by:
            self.by = next((name for name in UNNAMED_PARTS if name in metadata), "")
        if self.by in metadata:
            self._part_of[problem.id] = str(metadata[self.by])


class _RuleTally:
    """What one rule has said so far."""

    def __init__(self) -> None:
        self.right: Counter[str] = Counter()
        self.no_answer = self.only_rule = self.only_ours = 0
        self.examples: dict[str, None] = {}

    def count(self, problem_id: str, answer: str | None, theirs: bool, ours: bool) -> None:
        self.right[problem_id] += theirs
        self.no_answer += answer is None
        self.only_rule += theirs and not ours
        self.only_ours += ours and not theirs
        if theirs is not ours and len(self.examples) < MAX_EXAMPLES:
            self.examples[problem_id] = None

    def result(self, results: Mapping[str, ProblemResult]) -> RuleResult:
        shares = (self.right[key] / max(1, len(result.outcomes)) for key, result in results.items())
        disagreements = self.only_rule + self.only_ours
        return RuleResult(mean(shares) or 0.0, self.no_answer, disagreements, self.only_rule, tuple(self.examples))


def macro_mean(parts: Sequence[Part]) -> float | None:
    """The mean of the parts' accuracies, each part counting the same; None where there are no parts.

    >>> easy, hard = Interval(0, 1), Interval(0, 1)
    >>> macro_mean([Part("easy", 90, 0.5, easy), Part("hard", 10, 0.25, hard)])
    0.375
    """
    return mean(part.accuracy for part in parts)
