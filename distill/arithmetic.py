r"""Word problems in small arithmetic, made from a seed: what the tiny models of the quick start work on.

A problem is a story of one number. It starts somewhere, and each step adds to it, takes from it or
multiplies it. Every split but ``ood`` has 2 to 4 steps in the familiar wording; ``ood`` has 5 steps,
larger starting numbers and a wording that no other split uses.

No question stands in two splits, whatever the seeds: a checksum of its text decides where it may stand.
Only ``Random.random`` is drawn from, the one method whose sequence Python promises to keep.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar
from zlib import crc32

from distill.errors import DistillError
from distill.records import Problem

Item = TypeVar("Item")

NAMES = ("Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ines", "Jon", "Kim", "Leo")
THINGS = ("apples", "books", "coins", "eggs", "figs", "nuts", "pens", "shells")


@dataclass(frozen=True, slots=True)
class Wording:
    """The sentences a story is told in; each has one of the fields ``{name}``, ``{things}`` and ``{n}`` or several."""

    starts: tuple[str, ...]
    gains: tuple[str, ...]
    losses: tuple[str, ...]
    multiples: tuple[str, ...]
    questions: tuple[str, ...]


FAMILIAR = Wording(
    starts=("{name} has {n} {things}.", "{name} starts with {n} {things}."),
    gains=("{name} finds {n} more.", "{name} gets {n} more.", "A friend gives {name} {n}."),
    losses=("{name} loses {n}.", "{name} gives away {n}.", "A friend takes {n}."),
    multiples=("Then there are {n} times as many.", "The {things} grow {n} times."),
    questions=("How many {things} does {name} have?", "How many {things} are there now?"),
)
UNFAMILIAR = Wording(
    starts=("In the morning {n} {things} are on the table.", "A box holds {n} {things}."),
    gains=("Another {n} arrive.", "Later {n} {things} are added."),
    losses=("Of these {n} go missing.", "Later {n} {things} are sold."),
    multiples=("The pile becomes {n} times as large.", "It is then {n} times the number."),
    questions=("What is the number of {things} in the end?", "Count the {things} left for {name}."),
)


@dataclass(frozen=True, slots=True)
class Split:
    """How many problems a split has, which checksums are its own, and what its stories are like."""

    size: int
    checksums: frozenset[int]
    num_steps: tuple[int, ...] = (2, 3, 4)
    max_start: int = 20
    wording: Wording = FAMILIAR


NUM_CHECKSUMS = 8
SPLITS = {
    "train": Split(20_000, frozenset({3, 4, 5, 6, 7})),
    "validation": Split(500, frozenset({0})),
    "test": Split(1_000, frozenset({1})),
    "ood": Split(1_000, frozenset({2}), num_steps=(5,), max_start=40, wording=UNFAMILIAR),
}


@dataclass(frozen=True, slots=True)
class Story:
    """A question and the equations that answer it, in order; the last one ends in the answer."""

    question: str
    steps: tuple[str, ...]

    @property
    def answer(self) -> str:
        """The right-hand side of the last equation."""
        return self.steps[-1].partition("=")[2]


def arithmetic_problems(split: str, limit: int | None = None, seed: int = 0) -> Iterator[Problem]:
    r"""Yield the problems of a split, always the same ones for a seed, at most ``limit`` of them.

    ``solution`` is a worked completion. ``metadata`` holds ``num_steps`` and ``seed``.

    Args:
        split: train (20,000 problems), validation (500), test (1,000) or ood (1,000).
        seed: another seed gives other problems, still disjoint from every other split of every seed.

    Raises:
        DistillError: there is no such split, or ``limit`` is negative.

    >>> problem = next(arithmetic_problems("test"))
    >>> problem.id, problem.answer
    ('arithmetic/test/00000', '2')
    >>> problem.question
    'Eva has 7 shells. Eva loses 4. Eva gives away 1. How many shells are there now?'
    >>> print(problem.solution)
    <think>7-4=3 3-1=2</think>
    <answer>\boxed{2}</answer>
    """
    if split not in SPLITS:
        raise DistillError(f"arithmetic has no split '{split}'", hint=f"choose one of: {', '.join(SPLITS)}")
    if limit is not None and limit < 0:
        raise DistillError(f"limit is {limit} for arithmetic/{split}; expected 0 or more", hint="leave it out for all")
    return _problems(split, SPLITS[split].size if limit is None else min(limit, SPLITS[split].size), seed)


def _problems(split: str, count: int, seed: int) -> Iterator[Problem]:
    spec = SPLITS[split]
    rng = Random(f"arithmetic/{split}/{seed}")
    prefix = f"arithmetic/{split}" if seed == 0 else f"arithmetic/{split}-seed{seed}"
    seen: set[str] = set()
    while len(seen) < count:
        story = tell_story(rng, pick(rng, spec.num_steps), max_start=spec.max_start, wording=spec.wording)
        if checksum(story.question) not in spec.checksums or story.question in seen:
            continue
        index = len(seen)
        seen.add(story.question)
        yield Problem(
            id=f"{prefix}/{index:05d}",
            question=story.question,
            answer=story.answer,
            source="arithmetic",
            verifier="math",
            index=index,
            solution=worked_completion(story.steps),
            metadata=json.dumps({"num_steps": len(story.steps), "seed": seed}),
        )


def tell_story(rng: Random, num_steps: int, *, max_start: int = 20, wording: Wording = FAMILIAR) -> Story:
    """Make up a story of ``num_steps`` steps whose number is never below 1."""
    number = integer(rng, 2, max_start)
    fields = {"name": pick(rng, NAMES), "things": pick(rng, THINGS)}
    sentences = [pick(rng, wording.starts).format(n=number, **fields)]
    steps: list[str] = []
    for _ in range(num_steps):
        sign, operand, told = _next_step(rng, number, wording)
        result = {"+": number + operand, "-": number - operand, "*": number * operand}[sign]
        sentences.append(pick(rng, told).format(n=operand, **fields))
        steps.append(f"{number}{sign}{operand}={result}")
        number = result
    sentences.append(pick(rng, wording.questions).format(**fields))
    return Story(" ".join(sentences), tuple(steps))


def _next_step(rng: Random, number: int, wording: Wording) -> tuple[str, int, tuple[str, ...]]:
    """Choose a sign, an operand and the sentences that can tell it."""
    # Products of small numbers only, so that no step needs more than three digits.
    signs = "+" * (number < 60) + "-" * (number > 1) + "*" * (number <= 12)
    sign = pick(rng, signs)
    if sign == "+":
        return sign, integer(rng, 2, 19), wording.gains
    if sign == "-":
        return sign, integer(rng, 1, min(number - 1, 19)), wording.losses
    return sign, integer(rng, 2, 4), wording.multiples


def worked_completion(steps: Sequence[str]) -> str:
    r"""Write equations as a completion in the house's template; the last one gives the answer.

    >>> worked_completion(["3+4=7", "7*2=14"])
    '<think>3+4=7 7*2=14</think>\n<answer>\\boxed{14}</answer>'
    """
    answer = steps[-1].partition("=")[2]
    return f"<think>{' '.join(steps)}</think>\n<answer>\\boxed{{{answer}}}</answer>"


def checksum(question: str) -> int:
    """Map a question to 0 ... 7; each split owns some of these, so a question can stand in one split only."""
    return crc32(question.encode()) % NUM_CHECKSUMS


def pick(rng: Random, items: Sequence[Item]) -> Item:
    """Choose an item, all alike likely."""
    return items[int(rng.random() * len(items))]


def integer(rng: Random, low: int, high: int) -> int:
    """Choose an integer from ``low`` to ``high``, both included."""
    return low + int(rng.random() * (high - low + 1))
