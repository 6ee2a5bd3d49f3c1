"""Real completions and real golds: the figures of whole data sets."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from distill.records import Completion, Problem
from distill.verifiers import Judge
from distill.verifiers.boxes import complete_boxes
from distill.verifiers.choice import verify_choice
from distill.verifiers.engine import Engine, EngineOptions
from distill.verifiers.math import verify_math
from distill.verifiers.number import verify_number
from distill.verifiers.setting import Setting
from distill.verifiers.text import verify_text


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


# Where we differ from the silver label; every one was read. In 48 the completion says the right number and
# the label misses it: worked out ('35/7 = 5'), stated beside JSON that is broken, corrected after it, or
# followed by a second problem that the model wrote itself. In 2 it is generous: 'the total is 230 miles, but
# the distance covered by each train cannot be determined'.
SILVER_IS_WRONG = 48
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


def test_every_math_500_gold_verifies_against_itself_and_its_solution(shared_data: Path) -> None:
    for row in rows(shared_data / "math" / "math500.jsonl"):
        assert verify_math(rf"\boxed{{{row['answer']}}}", row["answer"]).outcome == "correct"
        assert verify_math(row["solution"], row["answer"]).outcome == "correct"


def test_every_competition_gold_is_a_number_that_verifies_against_itself(shared_data: Path) -> None:
    for name in ("aime24", "aime25"):
        for row in rows(shared_data / "competition" / f"{name}.jsonl"):
            gold = str(row.get("answer", row.get("expected_answer")))
            assert verify_number(rf"\boxed{{{int(gold):03d}}}", gold).outcome == "correct"


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


# Rows of the library's own tests where we want something else: decimal commas (4 of them; 0,111 is met
# all the same), 1 - 1/e taken for 1 + 1/e, inline maths across lines called unreadable, and
# 1/2 \$ = 10/9, an equation that does not hold.
KNOWN_DIFFERENCES = {"1000,99", "1.22", "Soucis : 2,74 $ a..", "$1 + \\frac{1}{\\mathrm{e}}$"} | {
    "Answer $ \n 9 \n $",
    "Answer \\( \n 9 \n \\)",
    "Answer $ \\frac{1}{2} \\$ = \\frac{10}{9} $",
}


@pytest.mark.slow
def test_math_verifys_own_cases_differ_only_where_we_want_something_else(shared_data: Path) -> None:
    engine = Engine(timeout_seconds=30, danger_seconds=30)  # about agreement, not about bounds
    usable, differences = 0, set()
    for row in rows(shared_data / "verify" / "math_verify_tests.jsonl"):
        if not isinstance(row["gold"], str):
            continue
        extra = row["extra"]
        options = EngineOptions(
            float_rounding=extra.get("precision", 6),
            set_relations=extra.get("allow_set_relation_comp", True),
            strict=extra.get("strict", True),
        )
        setting = Setting(flexible=True, engine=engine, engine_options=options)
        verdict = verify_math(row["prediction_text"], row["gold"], setting)
        usable += 1
        if (verdict.outcome == "correct") != bool(row["label"]):
            differences.add(row["prediction_text"])
    engine.close()
    assert usable == 268
    assert differences <= KNOWN_DIFFERENCES


@pytest.mark.slow
def test_the_engine_agrees_with_the_fast_layers_on_textbook_golds(shared_data: Path) -> None:
    """A full audit on pairs of golds: only wanted differences, on units, percent and bases (40 is not 40_9)."""
    solutions = rows(shared_data / "math" / "math_test_5000.jsonl")
    golds = sorted({complete_boxes(row["solution"])[-1].content for row in solutions})
    engine = Engine(timeout_seconds=30, danger_seconds=30)
    differences = []
    for gold, answer in zip(golds[::7], golds[1::7], strict=False):
        ours = verify_math(rf"\boxed{{{answer}}}", gold, Setting(engine=engine))
        theirs = engine.compare(gold, answer)
        if theirs.equal is not None and (ours.outcome == "correct") != theirs.equal:
            differences.append((gold, answer, ours.reason))
    engine.close()
    assert [(gold, answer) for gold, answer, reason in differences if ":" not in reason and "_" not in answer] == []
