"""The made-up word problems: reproducible, disjoint, and right."""

from __future__ import annotations

import itertools
import json
import operator
from random import Random
from typing import Any

import pytest

import distill.arithmetic
from distill.arithmetic import (
    FAMILIAR,
    SPLITS,
    UNFAMILIAR,
    Story,
    arithmetic_problems,
    checksum,
    integer,
    pick,
    tell_story,
    worked_completion,
)
from distill.errors import DistillError

OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def equations(solution: str) -> list[tuple[int, str, int, int]]:
    """Read the equations of a worked completion as (left, sign, operand, result)."""
    read = []
    for step in solution.removeprefix("<think>").partition("</think>")[0].split(" "):
        left, _, result = step.partition("=")
        sign = next(sign for sign in OPERATIONS if sign in left)
        number, _, operand = left.partition(sign)
        read.append((int(number), sign, int(operand), int(result)))
    return read


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_its_size_and_no_question_twice(split: str) -> None:
    problems = list(arithmetic_problems(split))
    assert len(problems) == SPLITS[split].size
    assert len({problem.question for problem in problems}) == len(problems)
    assert [problem.index for problem in problems] == list(range(len(problems)))


def test_no_question_stands_in_two_splits_whatever_the_seeds() -> None:
    questions = {
        split: {problem.question for seed in (0, 1, 2) for problem in arithmetic_problems(split, seed=seed)}
        for split in SPLITS
    }
    for first in SPLITS:
        for second in SPLITS:
            assert first == second or not questions[first] & questions[second]
            # Rare by chance as a common question is, the checksums are what rules it out.
            assert first == second or not SPLITS[first].checksums & SPLITS[second].checksums
    for split, spec in SPLITS.items():
        assert {checksum(question) for question in questions[split]} == spec.checksums


def test_a_story_told_twice_makes_one_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Story] = []

    def tell_twice(*arguments: Any, **options: Any) -> Story:
        if not told:
            told.append(tell_story(*arguments, **options))
            return told[0]
        return told.pop()

    monkeypatch.setattr(distill.arithmetic, "tell_story", tell_twice)
    problems = list(arithmetic_problems("validation", limit=100))
    assert len({problem.question for problem in problems}) == 100
    assert [problem.index for problem in problems] == list(range(100))


@pytest.mark.parametrize("split", SPLITS)
def test_equations_are_true_and_chained_from_the_question_to_the_answer(split: str) -> None:
    for problem in arithmetic_problems(split, limit=500):
        told = [int(word.strip(".")) for word in problem.question.split() if word.strip(".").isdigit()]
        chain = equations(problem.solution)
        assert [chain[0][0], *(operand for _, _, operand, _ in chain)] == told
        for number, sign, operand, result in chain:
            assert OPERATIONS[sign](number, operand) == result
        for previous, following in itertools.pairwise(chain):
            assert previous[3] == following[0]
        assert problem.answer == str(chain[-1][3])
        assert problem.solution.endswith(f"</think>\n<answer>\\boxed{{{problem.answer}}}</answer>")


@pytest.mark.parametrize("split", SPLITS)
def test_numbers_stay_between_1_and_99(split: str) -> None:
    for problem in arithmetic_problems(split):
        assert all(1 <= number <= 99 for step in equations(problem.solution) for number in (step[0], step[2], step[3]))


def test_ood_is_longer_starts_higher_and_is_worded_otherwise() -> None:
    familiar = list(arithmetic_problems("test"))
    unfamiliar = list(arithmetic_problems("ood"))
    assert {json.loads(problem.metadata)["num_steps"] for problem in familiar} == {2, 3, 4}
    assert {json.loads(problem.metadata)["num_steps"] for problem in unfamiliar} == {5}
    assert max(equations(problem.solution)[0][0] for problem in familiar) == 20
    assert max(equations(problem.solution)[0][0] for problem in unfamiliar) == 40
    assert all(problem.question.startswith(("In the morning", "A box")) for problem in unfamiliar)
    assert not any(problem.question.startswith(("In the morning", "A box")) for problem in familiar)
    for part in FAMILIAR.__slots__:
        assert not set(getattr(FAMILIAR, part)) & set(getattr(UNFAMILIAR, part))


def test_metadata_counts_the_steps() -> None:
    for problem in arithmetic_problems("train", limit=200):
        assert json.loads(problem.metadata) == {"num_steps": len(equations(problem.solution)), "seed": 0}


def test_same_seed_same_problems_and_limit_is_a_prefix() -> None:
    problems = list(arithmetic_problems("validation"))
    assert list(arithmetic_problems("validation", limit=50)) == problems[:50]
    assert list(arithmetic_problems("validation", limit=10_000)) == problems
    assert list(arithmetic_problems("validation", limit=0)) == []


def test_another_seed_gives_other_problems_under_other_ids() -> None:
    first = list(arithmetic_problems("test", limit=100))
    second = list(arithmetic_problems("test", limit=100, seed=1))
    assert second[0].id == "arithmetic/test-seed1/00000"
    assert not {problem.id for problem in first} & {problem.id for problem in second}
    assert len({problem.question for problem in first} & {problem.question for problem in second}) < 5


def test_questions_are_pinned_because_the_tiny_models_are_measured_on_them() -> None:
    problems = {split: list(arithmetic_problems(split))[-1] for split in SPLITS}
    assert [(problem.id, problem.answer) for problem in problems.values()] == [
        ("arithmetic/train/19999", "5"),
        ("arithmetic/validation/00499", "27"),
        ("arithmetic/test/00999", "1"),
        ("arithmetic/ood/00999", "55"),
    ]
    assert problems["test"].question == (
        "Ines has 15 figs. Ines finds 4 more. Ines loses 15. Ines loses 3. How many figs are there now?"
    )
    assert problems["ood"].question == (
        "In the morning 11 pens are on the table. It is then 4 times the number. Another 11 arrive. Another 12 arrive. Later 18 pens are sold. Later 6 pens are added. Count the pens left for Eva."
    )


def test_drawing_reaches_both_ends_and_nothing_beyond() -> None:
    rng = Random("ends")
    assert {integer(rng, 2, 4) for _ in range(200)} == {2, 3, 4}
    assert {pick(rng, "ab") for _ in range(50)} == {"a", "b"}


def test_story_has_as_many_steps_as_asked() -> None:
    rng = Random("stories")
    assert [len(tell_story(rng, count).steps) for count in (1, 2, 6)] == [1, 2, 6]


def test_worked_completion_boxes_the_last_result() -> None:
    assert worked_completion(["9-4=5"]) == "<think>9-4=5</think>\n<answer>\\boxed{5}</answer>"


@pytest.mark.parametrize(("split", "limit", "named"), [("dev", None, "'dev'"), ("test", -1, "-1")])
def test_wrong_split_or_limit_is_refused_at_the_call(split: str, limit: int | None, named: str) -> None:
    with pytest.raises(DistillError, match=named) as caught:
        arithmetic_problems(split, limit)
    assert caught.value.hint
