"""Answers to procedural tasks: by exact text, and by the package's own scorers where they were audited."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json

import pytest

from distill.errors import DistillError
from distill.records import Problem
from distill.verifiers import gold_problem, verify
from distill.verifiers.kinds import reasoning_gym as adapter
from distill.verifiers.kinds.reasoning_gym import AUDITED, own_score, read_entry
from distill.verifiers.workers.custom_process import load_custom
from tests.loading import loaded_modules

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None, reason="reasoning-gym is not installed"
)
EVALUATING = ("countdown", "puzzle24", "n_queens", "number_sorting", "simple_integration", "propositional_logic")


def entry(task: str, answer: str | None = "4") -> str:
    return json.dumps({"question": "?", "answer": answer, "metadata": {"source_dataset": task}})


@pytest.mark.parametrize(
    ("text", "gold", "outcome"),
    [
        ("A# #B", "A# #B", "correct"),
        (" A# #B\n", "A# #B", "correct"),
        ("The answer is A# #B", "A# #B", "correct"),
        ("<think>A?</think><answer>A# #B</answer>", "A# #B", "correct"),
        ("1 2\n3 4", "1 2\n3 4", "correct"),
        ("1 2 3 4", "1 2\n3 4", "incorrect"),
        ("a# #b", "A# #B", "incorrect"),
        ("", "A# #B", "no_answer"),
        ("4", entry("gcd"), "correct"),
        ("5", entry("gcd"), "incorrect"),
        ('{"a": 1}', '{"a": 1}', "correct"),  # a gold that is JSON, and no entry
        ("4", "", "unverified"),
        ("4", entry("rush_hour", None), "unverified"),
    ],
)
def test_the_kind_compares_by_exact_text(text: str, gold: str, outcome: str) -> None:
    assert verify(text, gold, "reasoning-gym").outcome.value == outcome


@pytest.mark.parametrize(
    ("gold", "problem"), [("4", ""), (entry("gcd"), ""), (entry("rush_hour", None), "gold_unparsed")]
)
def test_a_gold_is_an_answer_or_an_entry_that_has_one(gold: str, problem: str) -> None:
    assert gold_problem(Problem("1", "?", gold), "reasoning-gym") == problem


@pytest.mark.parametrize("task", EVALUATING)
def test_scorers_that_evaluate_text_are_not_in_the_table(task: str) -> None:
    assert task not in AUDITED
    verdict = own_score("__import__('os').getcwd()", entry(task))
    assert (verdict.outcome.value, verdict.reason) == ("unverified", "scorer_not_audited")


@pytest.mark.parametrize(
    "gold", ["4", "{}", '{"answer": "4"}', '{"answer": "4", "metadata": {}}', "[" * 9_000, "{" * 9]
)
def test_a_gold_that_is_no_entry_cannot_be_scored(gold: str) -> None:
    assert own_score("4", gold).reason == "gold_unparsed"


@needs_package
def test_the_own_scorers_run_in_a_worker_as_a_users_verifier_does() -> None:
    kind = "distill.verifiers.kinds.reasoning_gym:own_score"
    assert verify("4", "4", kind).reason == "gold_unparsed"
    assert verify("4", entry("countdown"), kind).reason == "scorer_not_audited"


@needs_package
def test_the_package_is_imported_before_the_first_deadline() -> None:
    loaded = loaded_modules(
        "from distill.verifiers.workers.custom_process import load_custom\n"
        "load_custom('distill.verifiers.kinds.reasoning_gym:own_score')\n"
    )
    assert "reasoning_gym" in loaded


def test_without_the_package_the_own_scorers_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(DistillError, match="is not installed") as caught:
        load_custom("distill.verifiers.kinds.reasoning_gym:own_score")
    assert "pip install" in caught.value.hint


def test_another_version_of_the_package_was_not_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_version", lambda: "9.9.9")
    assert own_score("4", entry("gcd")).reason == "version_not_audited"


def test_an_entry_is_read_from_json_only() -> None:
    assert read_entry(entry("gcd")) == {"question": "?", "answer": "4", "metadata": {"source_dataset": "gcd"}}
    assert read_entry("{'answer': '4', 'metadata': {}}") is None


@needs_package
@pytest.mark.parametrize("task", sorted(AUDITED))
def test_an_audited_scorer_accepts_the_answer_of_its_own_entry(task: str) -> None:
    import reasoning_gym

    item = reasoning_gym.create_dataset(task, size=1, seed=42)[0]
    gold = json.dumps({key: item[key] for key in ("question", "answer", "metadata")})
    if item["answer"] is not None:
        assert own_score(f"<think>hm</think>The answer is {item['answer']}", gold).outcome == "correct"
        assert own_score("", gold).outcome == "no_answer"
