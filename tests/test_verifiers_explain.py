"""Explaining a verdict: the steps say what was read and who decided, and the verdict is the verifier's own."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from distill.cli import app
from distill.errors import DistillError
from distill.registry import REGISTRY
from distill.verifiers import verify
from distill.verifiers.explain import explain, meaning
from distill.verifiers.maths.layers import LAYERS
from distill.verifiers.rules import Ruled
from distill.verifiers.setting import Setting

CASES = [
    (r"<think>17?</think>It is \boxed{\frac{2}{4}}. Question: next?", "0.5", "math"),
    (r"\boxed{(x+1)^2}", "x^2+2x+1", "math"),
    (r"\boxed{2x+1}", "x^2+2x+1", "math"),
    ("First 3, then 4", "4", "math"),
    ("<think>never ends", "4", "math"),
    ("<answer>Paris</answer>", "Paris", "text"),
    ("The answer is (B).", "B", "choice"),
    ("A: 1,234", "1234", "number"),
    ("@@", "@@", "math"),
]


def steps_of(text: str, gold: str, kind: str) -> dict[str, str]:
    return {step.name: step.found for step in explain(text, gold, kind, Setting()).steps}


@pytest.mark.parametrize(("text", "gold", "kind"), CASES)
def test_the_verdict_is_the_verifiers_own(text: str, gold: str, kind: str) -> None:
    explanation = explain(text, gold, kind, Setting())
    assert explanation.verdict == verify(text, gold, kind)
    assert explanation.steps[-1].name in {"verdict", "flexible"}


def test_the_steps_say_what_was_read_and_which_layer_decided() -> None:
    steps = steps_of(*CASES[0])
    assert steps["thinking"].startswith("18 characters")
    assert steps["answer"] == r"'\frac{2}{4}' (the last complete box)"
    assert steps["gold"] == "'0.5', read as the number 1/2"
    assert steps["layer string"] == "leaves it open"
    assert steps["layer number"].startswith("equal")
    assert "layer engine" not in steps  # nothing is asked after the decision


def test_every_layer_is_named_until_the_engine_decides() -> None:
    steps = steps_of(*CASES[1])
    assert [name for name in steps if name.startswith("layer")] == [f"layer {name}" for name in LAYERS]


def test_a_loosely_stated_answer_is_told_apart() -> None:
    text = "I count 3 apples and later on 4 more of them. That makes seven or so."
    steps = steps_of(text, "4", "number")
    assert steps["verdict"].startswith("no_answer")
    assert steps["flexible"].startswith("correct")


@pytest.mark.parametrize("kind", sorted(REGISTRY["verifiers"]))
def test_every_kind_can_be_explained(kind: str) -> None:
    if kind != "code":  # which runs nothing unless it is allowed
        assert explain("The answer is 4.", "4", kind, Setting()).steps


def test_a_reason_is_put_in_words_with_its_note() -> None:
    assert meaning("guard:unit") == "refused by the guard 'unit'"
    assert meaning("number:base_omitted").endswith("the number's base is not named")
    assert meaning("something_new") == "something_new"


def test_the_rules_of_others_stand_beside_ours() -> None:
    rules = ("distill", "authors", "lm-eval")
    explained = explain("So the answer is (B)", "(B)", "text", Setting(), rules=rules, benchmark="bbh")
    assert explained.verdict == verify("So the answer is (B)", "(B)", "text")
    assert explained.rules == {"authors": Ruled("(B)", correct=True), "lm-eval": Ruled("(B", correct=False)}
    assert [step.found for step in explained.steps[-2:]] == ["correct: reads '(B)'", "incorrect: reads '(B'"]
    with pytest.raises(DistillError, match="the rule 'authors' is a benchmark's"):
        explain("So the answer is (B)", "(B)", "text", Setting(), rules=("authors",))


def test_the_command_takes_verifier_and_markers_of_the_benchmark() -> None:
    command = [
        "verify",
        "So the answer is valid.",
        "--gold",
        "valid",
        "--benchmark",
        "bbh",
        "--rule",
        "lm-eval",
        "--json",
    ]
    said = json.loads(CliRunner().invoke(app, command).stdout)
    assert said["verdict"]["reason"] == "text"
    assert said["rules"] == {"lm-eval": {"answer": "valid", "correct": True}}
