"""Few-shot prompts: which examples stand before which question, and that they are part of what was evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distill.config import EvalConfig, ExamplesConfig, SourceConfig
from distill.errors import DistillError
from distill.evals.benchmarks import read_benchmark
from distill.evals.examples import Examples
from distill.evals.run import evaluate
from tests.test_evals_run import answering_config


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def examples_of(benchmark: str, problems: str, **examples: Any) -> tuple[Examples, list[Any]]:
    config = EvalConfig(source=SourceConfig(path=problems), examples=ExamplesConfig(**examples))
    read = read_benchmark(config, benchmark)
    return Examples(config, read), list(read.problems)


def test_examples_come_from_the_split_that_the_card_names_and_are_in_the_prompt_and_the_settings(
    tmp_path: Path,
) -> None:
    config = answering_config(Path("arithmetic"), limit=2, examples=ExamplesConfig(count=2))
    [report] = evaluate(config, tmp_path)
    lines = (tmp_path / "arithmetic-test" / "completions.jsonl").read_text().splitlines()
    texts = [json.loads(line)["prompt_text"] for line in lines]
    assert all(text.count("Question: ") == 3 and text.endswith("\nAnswer:") for text in texts)
    assert texts[0].rpartition("\n\nQuestion: ")[0] == texts[1].rpartition("\n\nQuestion: ")[0]
    assert report.settings["examples"]["count"] == 2
    with pytest.raises(DistillError, match="run with other settings: examples was"):
        evaluate(config.model_copy(update={"examples": ExamplesConfig()}), tmp_path)


def test_examples_are_of_the_questions_own_category_and_never_the_question_itself(tmp_path: Path) -> None:
    def row(number: int, category: str) -> dict[str, Any]:
        fields = {"question_id": number, "question": f"q{number}?", "options": ["x", "y"], "answer": "B"}
        return {**fields, "category": category, "cot_content": f"Because {number}. The answer is (B)."}

    tests = write_rows(tmp_path / "test.jsonl", [row(1, "law"), row(2, "math"), row(3, "art")])
    worked = write_rows(tmp_path / "worked.jsonl", [row(1, "law"), row(11, "law"), row(12, "law"), row(21, "math")])
    examples, problems = examples_of("mmlu_pro:all", tests, count=2, path=worked)
    law, math, art = map(examples.before, problems)
    one = "Question: {0}?\n(A) x\n(B) y\nAnswer: Because {1}. The answer is (B).\n\n"
    assert law == one.format("q11", 11) + one.format("q21", 21)
    assert math == one.format("q21", 21) + one.format("q1", 1)
    assert art == one.format("q1", 1) + one.format("q11", 11)


def test_a_file_of_prompts_by_task_is_taken_as_it_stands(tmp_path: Path) -> None:
    tests = write_rows(
        tmp_path / "bbh.jsonl",
        [{"task": task, "input": f"{task}?", "target": "yes"} for task in ("navigate", "snarks")],
    )
    prompts = write_rows(
        tmp_path / "prompts.jsonl", [{"task": "navigate", "prompt": "canary\n-----\nFollow {these}.\n\nQ: a\nA: b"}]
    )
    examples, [navigate, snarks] = examples_of("bbh:all", tests, path=prompts)
    assert examples.before(navigate) == "Follow {these}.\n\nQ: a\nA: b\n\n"
    with pytest.raises(DistillError, match="no prompt for 'snarks'"):
        examples.before(snarks)


@pytest.mark.parametrize(
    ("benchmark", "count", "message"),
    [("math500", 1, "names no worked examples"), ("gsm8k", 1, "are not in"), ("arithmetic", 0, "")],
)
def test_examples_that_are_not_to_be_had_are_an_error(tmp_path: Path, benchmark: str, count: int, message: str) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"problem": "1?", "question": "1?", "answer": "#### 1"}])
    if not message:
        examples, [problem] = examples_of(benchmark, path, count=count)
        assert (examples.before(problem), examples.fingerprint) == ("", "")
        return
    with pytest.raises(DistillError, match=message):
        examples_of(benchmark, path, count=count)


def test_too_few_examples_are_an_error(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"question": "1?", "answer": "#### 1"}])
    with pytest.raises(DistillError, match="fewer than 2 worked examples for 'gsm8k:test'"):
        examples_of("gsm8k", path, count=2, path=path)
