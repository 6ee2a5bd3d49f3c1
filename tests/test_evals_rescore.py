"""Scoring completions that exist: our own evaluations, lm-eval's samples, plain rows, and what is wrong with some."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.config import EvalConfig, RecordedConfig, SourceConfig, VerifierConfig
from distill.errors import DistillError
from distill.evals.lm_eval import results
from distill.evals.report import Report, read_report
from distill.evals.rescore import rescore
from distill.evals.run import evaluate
from tests.test_evals_run import answering_config, benchmark_file


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def scored(path: Path, *benchmarks: str, out: Path | None = None, **fields: Any) -> list[Report]:
    recorded = RecordedConfig(path=str(path), **fields.pop("recorded", {}))
    return rescore(EvalConfig(benchmarks=benchmarks, recorded=recorded, **fields), out)


def gsm8k_row(number: int, completion: str, **fields: Any) -> dict[str, Any]:
    return {
        "question": f"What is {number} + 1?",
        "answer": f"Well.\n#### {number + 1}",
        "completion": completion,
        **fields,
    }


def lm_eval_row(number: int, text: str, name: str = "strict-match") -> dict[str, Any]:
    doc = {"question": f"What is {number} + 1?", "answer": f"#### {number + 1}"}
    return {
        "doc_id": number,
        "doc": doc,
        "target": doc["answer"],
        "arguments": [["Q", {}]],
        "resps": [[text]],
        "filtered_resps": ["[invalid]"],
        "filter": name,
        "metrics": ["exact_match"],
        "exact_match": 0.0,
    }


def test_an_evaluation_of_our_own_scored_again_says_the_same(tmp_path: Path) -> None:
    sums = benchmark_file(tmp_path / "sums.jsonl", ["?", "?", "silent", "??", "?"])
    [live] = evaluate(answering_config(sums, num_completions=3), tmp_path / "live")
    [again] = scored(tmp_path / "live", out=tmp_path / "again")
    alike = {"cpu_seconds": 0.0, "wall_seconds": 0.0, "settings": {}, "versions": {}, "problems": ()}
    assert replace(again, **alike) == replace(live, **alike)
    assert sorted(again.problems, key=lambda item: item.id) == sorted(live.problems, key=lambda item: item.id)
    assert again.settings["sampling"] == live.settings["sampling"]
    assert read_report(tmp_path / "again" / "sums-all" / "report.json") == again
    with pytest.raises(DistillError, match="holds an evaluation already"):
        scored(tmp_path / "live", out=tmp_path / "live")


def test_an_evaluation_of_our_own_is_judged_by_another_verifier_when_one_is_named(tmp_path: Path) -> None:
    sums = benchmark_file(tmp_path / "sums.jsonl", ["?", "?", "?"])
    [live] = evaluate(answering_config(sums), tmp_path / "live")
    [again] = scored(tmp_path / "live", verifier=VerifierConfig(kind="format"))
    assert (live.accuracy, again.accuracy) == (1.0, 0.0)


def test_samples_of_lm_eval_are_read_once_whatever_their_filters(tmp_path: Path) -> None:
    folder = tmp_path / "my__model"
    rows = [
        lm_eval_row(number, text, name)
        for name in ("strict-match", "flexible-extract")
        for number, text in enumerate(["it is 1\n#### 1", "#### 7", "2 and then 3"])
    ]
    path = write_rows(folder / "samples_gsm8k_2026-01-02T03-04-05.678.jsonl", rows)
    [report] = scored(path, rules=("lm-eval", "lm-eval-flexible"))
    assert (report.model, report.name, report.num_problems) == ("my/model", "gsm8k:test", 3)
    assert [problem.id for problem in report.problems] == [f"gsm8k/test/0000{number}" for number in range(3)]
    assert [problem.num_correct for problem in report.problems] == [1, 0, 0]
    assert (report.rules["lm-eval"].disagreements, report.rules["lm-eval"].no_answer) == (0, 1)
    flexible = report.rules["lm-eval-flexible"]
    assert (flexible.only_rule, flexible.examples) == (1, ("gsm8k/test/00002",))
    assert (report.flexible_accuracy, report.rules["lm-eval"].accuracy) == (pytest.approx(2 / 3), report.accuracy)
    assert [flexible.accuracy, report.accuracy] == [pytest.approx(2 / 3), pytest.approx(1 / 3)]


def test_two_runs_of_one_model_on_one_task_are_not_mixed(tmp_path: Path) -> None:
    for second in (5, 6):
        name = f"samples_gsm8k_2026-01-02T03-04-0{second}.7.jsonl"
        write_rows(tmp_path / "m" / name, [lm_eval_row(0, "#### 1")])
    with pytest.raises(DistillError, match="hold the same problems, answered by the same model"):
        scored(tmp_path / "m")
    sums = benchmark_file(tmp_path / "sums.jsonl", ["?"])
    for run in ("first", "second"):
        evaluate(answering_config(sums), tmp_path / "runs" / run)
    with pytest.raises(DistillError, match="hold the same problems"):
        scored(tmp_path / "runs")


def test_a_folder_of_lm_evals_tasks_is_one_benchmark_by_task(tmp_path: Path) -> None:
    for task, target, text in (("navigate", "No", "No"), ("snarks", "(A)", "(B)"), ("word_sorting", "a b", "a b")):
        row = {"doc_id": 0, "doc": {"input": f"{task}?"}, "target": target, "filter": "get-answer"}
        row["resps"] = [[f"So the answer is {text}."]]
        write_rows(tmp_path / "m" / f"samples_bbh_cot_fewshot_{task}_2026-01-02T03-04-05.6.jsonl", [row])
    [report] = scored(tmp_path / "m")
    assert (report.name, report.by, report.num_problems) == ("bbh:all", "task", 3)
    assert {part.name: part.accuracy for part in report.parts} == {"navigate": 1.0, "snarks": 0.0, "word_sorting": 1.0}


def test_rows_that_cannot_be_scored_are_named_and_counted_and_stop_nothing(tmp_path: Path) -> None:
    rows = [
        gsm8k_row(1, "#### 2", id="a"),
        '{"question": "torn',
        ["no object"],
        {**gsm8k_row(3, "#### 4"), "completion": None, "id": "b"},
        {"id": "c", "answer": "4", "completion": "#### 4"},
        {**gsm8k_row(4, "#### 5", id="d"), "completion": 7},
        gsm8k_row(5, "#### 7", id="e"),
        gsm8k_row(6, "#### 7", id="a"),
    ]
    [report] = scored(write_rows(tmp_path / "rows.jsonl", rows), "gsm8k", out=tmp_path / "out")
    assert (report.num_problems, report.accuracy) == (2, 0.5)
    found = [(item.row, item.id, item.reason.partition(" at ")[0]) for item in report.rejected]
    assert found == [
        (2, "", "not valid JSON: Invalid control character"),
        (3, "", "not_an_object"),
        (4, "b", "no_completion"),
        (5, "c", "missing_question"),
        (6, "d", "this row: a completion is a int, expected text"),
        (8, "a", "two problems have the id 'a'"),
    ]
    lines = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()]
    assert [(line["id"], line["outcome"], line["answer"]) for line in lines] == [
        ("a", "correct", "2"),
        ("e", "incorrect", "7"),
    ]


def test_log_likelihoods_are_no_completions(tmp_path: Path) -> None:
    row = {**lm_eval_row(0, ""), "resps": [[["-1.5", "False"]], [["-0.5", "True"]]]}
    with pytest.raises(DistillError, match=r"no completion of .* can be scored: row 1 .*log-likelihoods"):
        scored(write_rows(tmp_path / "samples_x.jsonl", [row]))


def test_rows_of_one_problem_come_together_by_id_and_models_apart(tmp_path: Path) -> None:
    rows = [gsm8k_row(1, f"#### {n}", id="1", model=model) for n in (2, 3) for model in ("small", "large")]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    small, large = scored(path, "gsm8k", out=tmp_path / "out", model="of rows that name none")
    assert [(report.model, report.num_problems, report.accuracy) for report in (small, large)] == [
        ("small", 1, 0.5),
        ("large", 1, 0.5),
    ]
    assert small.pass_at_k == {1: 0.5, 2: 1.0}
    assert (tmp_path / "out" / "large" / "gsm8k-test" / "results.json").is_file()


def test_rows_without_ids_are_a_problem_each_unless_their_question_is_to_join_them(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [gsm8k_row(1, "#### 2"), gsm8k_row(1, "#### 3")])
    [apart], [together] = scored(path, "gsm8k"), scored(path, "gsm8k", recorded={"question": "question"})
    assert [apart.num_problems, together.num_problems] == [2, 1]


def test_rows_are_joined_with_the_problems_of_a_benchmark_by_id_or_question(tmp_path: Path) -> None:
    problems = [{"id": f"p{n}", "question": f"What  is {n}?", "answer": f"#### {n}"} for n in range(4)]
    problems.append({"id": "p4", "question": "What is 3?", "answer": "#### 33"})  # the same question once more
    source = SourceConfig(path=str(write_rows(tmp_path / "problems.jsonl", problems)))
    answers = [
        {"id": "p0", "output": "A: 0"},
        {"question": "What is 3?", "output": "A: 3"},
        {"question": "What is 3?", "output": "A: 33"},
        {"question": "What is 9?", "output": "A: 9"},
    ]
    path = write_rows(tmp_path / "answers.jsonl", answers)
    [report] = scored(path, "gsm8k", source=source)
    assert [(problem.id, problem.num_correct) for problem in report.problems] == [("p0", 1), ("p3", 1), ("p4", 1)]
    assert (report.absent, [item.reason for item in report.rejected]) == (2, ["not in gsm8k:test"])
    rows = [{**row, "model": model} for row, model in zip(answers, "aabb", strict=True)]
    first, second = scored(write_rows(tmp_path / "two.jsonl", rows), "gsm8k", source=source)
    assert (first.absent, second.absent) == (3, 4)
    assert [problem.id for problem in second.problems] == ["p3"]


def test_plain_rows_need_no_benchmark_and_their_columns_are_guessed_aloud(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"problem": "1 + 1?", "gold": "2", "answer": "3", "response": r"\boxed{2}", "num_tokens": 5}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    config = EvalConfig(model="mine", recorded=RecordedConfig(path=str(tmp_path / "rows.parquet")))
    notes: list[str] = []
    [report] = rescore(config, note=notes.append)
    assert (report.model, report.name, report.accuracy, report.mean_tokens.all) == ("mine", "rows", 1.0, 5.0)
    assert notes == [
        "rows.parquet: completions from 'response'; problems from the rows themselves: "
        "question from 'problem', gold answer from 'gold'"
    ]


@pytest.mark.parametrize(
    ("benchmarks", "fields", "message"),
    [
        (("gsm8k", "bbh"), {}, "scored on one benchmark"),
        (("gsm8k",), {"rules": ("lm-evil",)}, "no rule 'lm-evil' for 'gsm8k'"),
        (("bbh:test",), {}, "'bbh:test' is a part of the data that rows of completions cannot be sorted into"),
        (("gsm8k",), {"recorded": {"completions": "text"}}, r"no completion of .* this row has no 'text'"),
    ],
)
def test_what_cannot_be_scored_at_all_is_an_error(
    tmp_path: Path, benchmarks: tuple[str, ...], fields: dict[str, Any], message: str
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [gsm8k_row(1, "#### 2", input="2?", target="3")])
    with pytest.raises(DistillError, match=message):
        scored(path, *benchmarks, **fields)


def test_rows_that_name_no_problem_are_not_looked_up_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.evals.recorded_problems.read_benchmark", lambda *_: pytest.fail("it was looked up"))
    path = write_rows(tmp_path / "rows.jsonl", [{"completion": "#### 2", "note": "first"}])
    with pytest.raises(DistillError, match=r"state no problem .* neither an id nor a question") as raised:
        scored(path, "gsm8k")
    assert raised.value.hint.endswith("found: completion, note")


def two_tasks(folder: Path) -> list[Report]:
    rows = [
        {"id": str(n), "input": "?", "target": "yes", "task": task, "completion": f"So the answer is {said}."}
        for n, (task, said) in enumerate(
            [("navigate", "yes"), ("navigate", "no"), ("snarks", "yes"), ("snarks", "yes")]
        )
    ]
    return scored(write_rows(folder / "rows.jsonl", rows), "bbh", rules=("authors",), model="mine")


def test_results_have_the_shape_of_lm_evals(tmp_path: Path) -> None:
    found = results(two_tasks(tmp_path))
    # 3 of 4 right: standard error sqrt(4 * 3/16 / 3 / 4) = 1/4 for the sample, as lm-eval's
    assert found["results"]["bbh"] == {
        "alias": "bbh",
        "acc,none": 0.75,
        "acc_stderr,none": 0.25,
        "acc,authors": 0.75,
        "acc_stderr,authors": 0.25,
        "acc,flexible": 0.75,
        "acc_stderr,flexible": "N/A",
        "sample_len": 4,
    }
    assert found["results"]["bbh_navigate"]["acc,none"] == 0.5
    assert found["group_subtasks"] == {"bbh": ["bbh_navigate", "bbh_snarks"]}
    assert found["n-samples"]["bbh"] == {"original": 4, "effective": 4}
    assert found["versions"].keys() == found["n-shot"].keys() == found["results"].keys()
    assert found["config"]["model_args"] == "pretrained=mine"


def test_lm_eval_itself_reads_our_results(tmp_path: Path) -> None:
    table = pytest.importorskip("lm_eval.utils", reason="lm-eval is not installed").make_table
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table(results(two_tasks(tmp_path))).splitlines()
    ]
    found = [(line[0].lstrip("- "), line[2], line[4], float(line[6]), line[8]) for line in lines[2:]]
    assert [(*cells, error if error == "N/A" else float(error)) for *cells, error in found] == [
        ("bbh", "authors", "acc", 0.75, 0.25),
        ("", "flexible", "acc", 0.75, "N/A"),
        ("", "none", "acc", 0.75, 0.25),
        ("navigate", "none", "acc", 0.5, 0.5),
        ("snarks", "none", "acc", 1.0, 0.0),
    ]


def test_the_command_scores_a_file_and_says_what_it_took_it_for(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from distill.cli import app

    path = write_rows(tmp_path / "rows.jsonl", [gsm8k_row(1, "#### 2"), gsm8k_row(2, "4 or 5, then 3"), "torn"])
    options = ["-b", "gsm8k", "--rule", "lm-eval-flexible", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["eval", "mine", "--from", str(path), *options])
    assert done.exit_code == 0, done.output
    for text in ("50.0 %", "100.0 %, 1 differ", "left out gsm8k:test row 3", "completions from 'completion'"):
        assert text in done.output
    assert read_report(tmp_path / "out" / "gsm8k-test" / "report.json").model == "mine"
    assert CliRunner().invoke(app, ["eval"]).exit_code == 1
