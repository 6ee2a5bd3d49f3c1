"""Real completions and real golds: the figures of whole data sets."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from distill.records import Completion, Problem
from distill.verifiers import Judge
from distill.verifiers.kinds.choice import verify_choice
from distill.verifiers.kinds.text import verify_text
from distill.verifiers.maths.gold import read_gold
from distill.verifiers.maths.layers import LAYERS
from distill.verifiers.maths.math import math_gold_problem, verify_math
from distill.verifiers.maths.number import number_gold_problem, verify_number
from distill.verifiers.maths.rendering import engine_pair
from distill.verifiers.policy import Policy
from distill.verifiers.reading.boxes import complete_boxes
from distill.verifiers.setting import Decision, Setting
from distill.verifiers.workers.engine import Engine

pytestmark = pytest.mark.slow


def rows(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize("flexible", [False, True])
def test_gsm8k_labels_are_reproduced_on_every_one_of_5276_solutions(shared_data: Path, flexible: bool) -> None:
    setting = Setting(markers=("A:",), flexible=flexible)
    agreed = 0
    for row in rows(shared_data / "gsm8k" / "example_model_solutions.jsonl"):
        gold = row["ground_truth"].rpartition("A:")[2]
        solutions = [value for value in row.values() if isinstance(value, dict)]
        verdicts = [verify_number(solution["solution"], gold, setting) for solution in solutions]
        agreed += sum((v.outcome == "correct") == s["is_correct"] for v, s in zip(verdicts, solutions, strict=True))
    assert agreed == 5_276


def test_bbh_labels_are_reproduced_on_every_one_of_6511_rationales(shared_data: Path) -> None:
    setting = Setting(markers=("So the answer is",))
    outcomes: Counter[tuple[str, bool]] = Counter()
    for row in rows(shared_data / "bbh" / "code_davinci_002_cot.jsonl.gz"):
        outcomes[verify_text(row["rationale"], row["target"], setting).outcome.value, row["correct"]] += 1
    assert outcomes == {("correct", True): 4_816, ("incorrect", False): 1_458, ("no_answer", False): 237}


def test_exact_text_reads_every_form_of_the_reasoning_gym_answers(shared_data: Path) -> None:
    outcomes: Counter[tuple[str, str]] = Counter()
    for row in rows(shared_data / "verify" / "reasoning_gym_scored.jsonl.gz"):
        outcomes[row["variant"], verify_text(row["prediction_text"], row["gold"]).outcome.value] += 1
    right = {(variant, "correct"): 600 for variant in ("gold", "gold_ws", "verbose")}
    assert outcomes == {**right, ("empty", "no_answer"): 600, ("other", "incorrect"): 600}


# Where we differ from the silver label; every one was read. In 75 the completion says the right number and
# the label misses it: worked out ('35/7 = 5', '4 hours * 15 cups/hour = 60 cups'), concluded at the end of a
# text, a time of day, stated beside JSON that is broken, corrected after it, or followed by a second problem
# that the model wrote itself. In 2 it is generous: 'the total is 230 miles, but the distance covered by each
# train cannot be determined'.
SILVER_IS_WRONG = 75
SILVER_IS_GENEROUS = 2


def test_groups_of_eight_models_agree_with_their_silver_labels(shared_data: Path) -> None:
    differences: Counter[tuple[bool, str]] = Counter()
    with Judge(kind="number") as judge:
        for row in rows(shared_data / "zeroeval" / "gsm8k_test_8_models.jsonl.gz"):
            problem = Problem(row["id"], row["question"], row["answer"])
            for completion in row["completions"]:
                verdict = judge.judge(problem, Completion(completion["text"]))
                if (verdict.outcome == "correct") != completion["match"]:
                    differences[completion["match"], verdict.outcome.value] += 1
    assert differences == {(False, "correct"): SILVER_IS_WRONG, (True, "incorrect"): SILVER_IS_GENEROUS}


def test_every_math_500_gold_verifies_against_its_solution(shared_data: Path) -> None:
    for row in rows(shared_data / "math" / "math500.jsonl"):
        assert verify_math(row["solution"], row["answer"]).outcome == "correct"


def shipped_golds(shared_data: Path) -> dict[str, list[str]]:
    """The golds of every set of maths, by the kind that judges it."""
    numbers = [
        row["answer"].rpartition("####")[2].strip()
        for name in ("train", "test")
        for row in rows(shared_data / "gsm8k" / f"{name}.jsonl")
    ]
    for name in ("aime24", "aime25", "aime_1983_2023"):
        golds = [
            row["answer"] if "answer" in row else row["expected_answer"]
            for row in rows(shared_data / "competition" / f"{name}.jsonl")
        ]
        numbers += [f"{int(gold):03d}" for gold in golds]
    formulas = [row["answer"] for row in rows(shared_data / "math" / "math500.jsonl")]
    formulas += [row["answer"] for row in rows(shared_data / "agieval" / "math.jsonl")]
    solutions = rows(shared_data / "math" / "math_test_5000.jsonl")
    formulas += [complete_boxes(row["solution"])[-1].content for row in solutions]
    return {"number": numbers, "math": formulas}


def test_every_shipped_gold_verifies_against_itself_in_a_box(shared_data: Path) -> None:
    golds = shipped_golds(shared_data)
    assert {kind: len(values) for kind, values in golds.items()} == {"number": 9_827, "math": 6_500}
    for gold in golds["number"]:
        assert verify_number(rf"\boxed{{{gold}}}", gold).outcome == "correct"
        assert number_gold_problem(Problem("1", "?", gold)) == ""
    for gold in golds["math"] + golds["number"]:
        assert verify_math(rf"\boxed{{{gold}}}", gold).outcome == "correct"


def test_every_shipped_gold_can_be_read_before_anything_is_sampled(shared_data: Path) -> None:
    engine = Engine(timeout_seconds=30, danger_seconds=30)
    setting = Setting(engine=engine)
    golds = sorted(set(shipped_golds(shared_data)["math"]))
    problems = {gold: math_gold_problem(Problem("1", "?", gold), setting) for gold in golds}
    engine.close()
    assert {gold: problem for gold, problem in problems.items() if problem} == {}


def test_mmlu_pro_letters_are_read_or_refused(shared_data: Path) -> None:
    """98 % agree with the authors' rule, which takes the first letter and guesses none here; the flexible score does."""
    strict = flexible = 0
    all_rows = rows(shared_data / "verify" / "mmlu_pro_outputs_sample_a.jsonl.gz")
    for row in all_rows:
        is_right = row["recomputed_pred"] == row["gold"]
        options = tuple(row["options"])
        verdicts = [
            verify_choice(row["prediction_text"], row["gold"], Setting(options=options, flexible=flexible_score))
            for flexible_score in (False, True)
        ]
        strict += (verdicts[0].outcome == "correct") == is_right
        flexible += (verdicts[1].outcome == "correct") == is_right
    assert strict >= 0.985 * len(all_rows)
    assert flexible >= 0.995 * len(all_rows)


# Rows of the library's own tests where we want something else.
DECIMAL_COMMAS = {"1000,99", "1.22", "Soucis : 2,74 $ a.."}  # a policy reads them; 0,111 is met all the same
KNOWN_DIFFERENCES = DECIMAL_COMMAS | {
    "$1 + \\frac{1}{\\mathrm{e}}$",  # called equal to 1 - 1/e
    "Answer $ \n 9 \n $",  # inline maths across lines, called unreadable
    "Answer \\( \n 9 \n \\)",
    "Answer $ \\frac{1}{2} \\$ = \\frac{10}{9} $",  # an equation that does not hold
}


def test_math_verifys_own_cases_differ_only_where_we_want_something_else(shared_data: Path) -> None:
    engine = Engine(timeout_seconds=30, danger_seconds=30)  # about agreement, not about bounds
    usable, differences, with_commas = 0, set(), set()
    for row in rows(shared_data / "verify" / "math_verify_tests.jsonl"):
        if not isinstance(row["gold"], str):
            continue
        usable += 1
        text, is_right = row["prediction_text"], bool(row["label"])
        policy = policy_of_case(row["extra"])
        verdict = verify_math(text, row["gold"], Setting(flexible=True, engine=engine, policy=policy))
        if (verdict.outcome == "correct") != is_right:
            differences.add(text)
            commas = Setting(flexible=True, engine=engine, policy=replace(policy, decimal_comma=True))
            if (verify_math(text, row["gold"], commas).outcome == "correct") == is_right:
                with_commas.add(text)
    engine.close()
    assert usable == 268
    assert differences <= KNOWN_DIFFERENCES
    assert with_commas == DECIMAL_COMMAS


def policy_of_case(extra: dict[str, Any]) -> Policy:
    """What a case of the library asks for: a precision of 2 is two decimals."""
    precision = extra.get("precision", 6)
    return Policy(
        float_rounding=precision,
        relative_tolerance=max(1e-5, 10.0**-precision),
        set_relations=extra.get("allow_set_relation_comp", True),
        strict_engine=extra.get("strict", True),
    )


# What the engine says otherwise than the fast layers, and we want: it drops units and bases, and takes a
# percentage for one of two values, of which a gold means one.
WANTED_DIFFERENCES = {
    ("number", "guard:unit"),
    ("number", "number:percent_omitted"),
    ("base", "number"),
    ("unit", "string:unit_omitted"),
}


def fast_decision(gold: str, answer: str) -> tuple[str, Decision] | None:
    """The layer before the engine that decides, and its decision."""
    reference = read_gold(gold)
    for name, layer in LAYERS.items():
        decision = layer(reference, answer, Setting(engine=NoEngine())) if name != "engine" else None  # type: ignore[arg-type]
        if decision is not None:
            return name, decision
    return None


class EngineAskedError(Exception):
    """A layer before the engine needed the engine."""


class NoEngine:
    """Stands where the engine would, and says that it was asked."""

    def compare(self, *_: object) -> None:
        raise EngineAskedError


def audited(pairs: list[tuple[str, str]]) -> tuple[int, Counter[tuple[str, str]]]:
    """How many pairs the fast layers decide, and where the engine decides otherwise, by layer and reason."""
    engine = Engine(timeout_seconds=30, danger_seconds=30)
    num_decided, differences = 0, Counter[tuple[str, str]]()
    for gold, answer in pairs:
        try:
            decided = fast_decision(gold, answer)
        except EngineAskedError:
            decided = None
        if decided is None:
            continue
        num_decided += 1
        layer, decision = decided
        theirs = engine.compare(*engine_pair(gold, answer))
        if theirs.equal is not None and (decision.outcome == "correct") != theirs.equal:
            differences[layer, decision.reason] += 1
    engine.close()
    return num_decided, differences


@pytest.mark.parametrize(("every", "at_least"), [(20, 400), pytest.param(1, 9_900, marks=pytest.mark.slow)])
def test_the_engine_agrees_with_the_fast_layers_on_golds_and_shuffled_golds(
    every: int, at_least: int, shared_data: Path
) -> None:
    """Of all 10,000 such pairs the fast layers decide 9,923."""
    golds = shipped_golds(shared_data)["math"][-5_000:]
    shuffled = random.Random(0).sample(golds, len(golds))
    num_decided, differences = audited([*zip(golds, golds, strict=True), *zip(golds, shuffled, strict=True)][::every])
    assert num_decided > at_least
    assert differences == {}


def test_the_engine_differs_from_the_fast_layers_on_like_golds_only_where_we_want_it(shared_data: Path) -> None:
    golds = sorted(set(shipped_golds(shared_data)["math"][-5_000:]))
    num_decided, differences = audited(list(pairwise(golds)))
    assert num_decided > 1_200
    assert set(differences) <= WANTED_DIFFERENCES
