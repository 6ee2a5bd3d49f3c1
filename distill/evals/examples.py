"""Few-shot prompts: worked examples that stand before a question."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from distill.cards import Card, card_names, load_card
from distill.config import EvalConfig, SourceConfig
from distill.errors import DistillError
from distill.evals.benchmarks import Benchmark
from distill.evals.tally import UNNAMED_PARTS
from distill.fingerprints import fingerprint
from distill.problems import read_problems
from distill.problems.rows import file_rows
from distill.prompts import fill_template
from distill.records import Problem

TEXT_BEGINS = "\n-----\n"
"""What stands before this in a file of prompts is meant for people, as in those of BIG-Bench Hard."""
USUAL_TEMPLATE = "Question: {question}\n{options}\nAnswer:"


class Examples:
    """The worked examples of one benchmark.

    Raises:
        DistillError: there are none to be had, or too few.
    """

    def __init__(self, config: EvalConfig, benchmark: Benchmark) -> None:
        self._count = config.examples.count
        self._by = benchmark.by
        self._texts: dict[str, str] = {}
        self._problems: defaultdict[str, list[Problem]] = defaultdict(list)
        self._card = load_card(benchmark.name) if benchmark.name in card_names() else None
        if not config.examples.is_wanted:
            return
        path = config.examples.path
        self._texts = _prompts(Path(path).expanduser()) if path else {}
        if not self._texts:
            for problem in self._read(config, benchmark):
                of_part = self._problems[_part(problem, self._by)]
                if len(of_part) < self._count:
                    of_part.append(problem)
            if max(map(len, self._problems.values()), default=0) < self._count or not self._count:
                raise DistillError(
                    f"there are fewer than {self._count} worked examples for '{benchmark.full_name}'",
                    hint="ask for fewer (examples.count, at least 1), or name another examples.path",
                )

    @property
    def fingerprint(self) -> str:
        """Of all that stands before any question; empty where nothing does."""
        texts = {part: self._worked(problems) for part, problems in self._problems.items()} | self._texts
        return fingerprint(texts) if texts else ""

    def before(self, problem: Problem) -> str:
        """The text before a problem's question; empty where no examples are wanted.

        Raises:
            DistillError: a file of prompts has none for this problem's task.
        """
        part = _part(problem, self._by)
        if self._texts:
            text = self._texts.get(part, self._texts.get(""))
            if text is None:
                raise DistillError(
                    f"the file of examples has no prompt for '{part}'", hint=f"it has: {', '.join(self._texts)}"
                )
            return f"{text}\n\n"
        same_part = self._problems.get(part, [])
        others = [example for examples in self._problems.values() for example in examples if example not in same_part]
        different = [example for example in (*same_part, *others) if example.question != problem.question]
        return self._worked(different[: self._count])

    def _read(self, config: EvalConfig, benchmark: Benchmark) -> Iterable[Problem]:
        if config.examples.path:
            name = benchmark.name if self._card else ""
            split = self._card.prompt.examples or None if self._card else None
            return read_problems(SourceConfig(name=name, path=config.examples.path, split=split), role="benchmark")
        if self._card is None or not self._card.prompt.examples:
            raise DistillError(
                f"the data card of '{benchmark.name}' names no worked examples",
                hint="name a file of them with --set examples.path=FILE",
            )
        path = config.paths.get(benchmark.name, config.source.path)
        if path is not None:
            raise DistillError(
                f"the examples of '{benchmark.name}' are not in '{path}'",
                hint="name the file that holds them with --set examples.path=FILE",
            )
        source = SourceConfig(name=self._card.name, split=self._card.prompt.examples)
        return read_problems(source, role="benchmark")

    def _worked(self, examples: Iterable[Problem]) -> str:
        template = _template(self._card)
        return "".join(
            f"{fill_template(template, example)} {example.solution or example.answer}\n\n" for example in examples
        )


def _template(card: Card | None) -> str:
    return card.prompt.plain_template.rstrip() if card else USUAL_TEMPLATE


def _part(problem: Problem, by: str) -> str:
    metadata = json.loads(problem.metadata)
    name = by or next((name for name in UNNAMED_PARTS if name in metadata), "")
    return str(metadata.get(name, ""))


def _prompts(path: Path) -> dict[str, str]:
    """The texts of a file whose rows have a 'prompt', by 'task'; empty where it holds problems instead."""
    texts = {}
    for _, row in file_rows(path):
        if not isinstance(row, dict) or not isinstance(row.get("prompt"), str) or "question" in row:
            return {}
        texts[str(row.get("task", ""))] = row["prompt"].rpartition(TEXT_BEGINS)[2].strip()
    return texts
