"""The benchmarks of both papers, evaluated: by task, with what cannot be solved, and without what was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distill.cards import load_card
from distill.config import EvalConfig, PromptConfig, RecordedConfig, SourceConfig
from distill.errors import DistillError
from distill.evals.benchmarks import read_benchmark, read_benchmarks
from distill.evals.means import macro_accuracy, mean_lines, micro_accuracy
from distill.evals.report import Report
from distill.evals.rescore import rescore
from distill.prompts import build_prompt


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def scored(path: Path, benchmark: str) -> Report:
    [report] = rescore(EvalConfig(benchmarks=(benchmark,), recorded=RecordedConfig(path=str(path)), model="m"))
    return report


def parts(report: Report) -> dict[str, tuple[int, float]]:
    return {part.name: (part.num_problems, part.accuracy) for part in report.parts}


def test_gsm_plus_is_reported_by_perturbation_and_scores_what_has_no_answer(tmp_path: Path) -> None:
    asked = [
        ("numerical substitution", "7", "#### 7", 1),
        ("numerical substitution", "9", "#### 8", 1),
        ("critical thinking", "None", "The price is missing, so this cannot be determined.", 1),
        ("critical thinking", "None", "#### 3", 2),
        ("critical thinking", "None", "#### 4", 2),
    ]
    rows = [
        {
            "question": f"{n}?",
            "answer": gold,
            "solution": "s",
            "perturbation_type": kind,
            "seed_question": f"seed {seed}",
        }
        | {"completion": said, "id": str(n)}
        for n, (kind, gold, said, seed) in enumerate(asked)
    ]
    report = scored(write_rows(tmp_path / "rows.jsonl", rows), "gsm_plus")
    assert parts(report) == {"numerical substitution": (2, 0.5), "critical thinking": (3, pytest.approx(1 / 3))}
    assert (report.by, report.accuracy, report.macro_accuracy, report.unverified) == (
        "perturbation",
        0.4,
        pytest.approx(5 / 12),
        0,
    )
    assert report.solvable_accuracy == 0.5


def test_bb_sub_takes_the_last_marker_and_compares_letters(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Which?", "output": "(a)", "task_name": "one", "completion": "Therefore, the answer is (A)."},
        {"instruction": "Which?", "output": "(b)", "task_name": "one", "completion": "Look at each of the options in turn.\n\nThe first one is too long.\n\nThat leaves (b)."},
        {"instruction": "Sure?", "output": "yes", "task_name": "two",
         "completion": "Therefore, the answer is no. Wait. Therefore, the answer is Yes. Good."},
    ]  # fmt: skip
    report = scored(write_rows(tmp_path / "rows.jsonl", rows), "bb_sub")
    assert parts(report) == {"one": (2, 0.5), "two": (1, 1.0)}
    assert (report.macro_accuracy, report.accuracy) == (0.75, pytest.approx(2 / 3))


def test_open_rs_leaves_out_what_open_s1_holds(tmp_path: Path) -> None:
    hard = [{"problem": f"Find  x = {n}.", "answer": str(n), "solution": "s", "level": "Hard"} for n in range(4)]
    path = write_rows(tmp_path / "open_rs.jsonl", [*hard, {**hard[0], "problem": "Easy?", "level": "Easy"}])
    trained = write_rows(tmp_path / "open_s1.jsonl", [{"problem": "find X = 2.", "answer": "2"}])
    config = EvalConfig(source=SourceConfig(path=str(path)), without=(str(trained),))
    found = read_benchmark(config, "open_rs:hard")
    assert [problem.answer for problem in found.problems] == ["0", "1", "3"]
    assert [(item.row, item.reason) for item in found.rejected] == [(3, f"also in {trained}")]
    assert len(read_benchmark(config.model_copy(update={"without": ()}), "open_rs:hard").problems) == 4
    with pytest.raises(DistillError, match=r"stand in 'nowhere.jsonl' too are to be left out, and it cannot be read"):
        read_benchmark(config.model_copy(update={"without": ("nowhere.jsonl",)}), "open_rs:hard")


def test_several_benchmarks_are_read_from_local_copies_and_so_is_what_they_leave_out(tmp_path: Path) -> None:
    hard = [{"problem": f"Find x = {n}.", "answer": str(n), "solution": "s", "level": "Hard"} for n in range(4)]
    known = [{"problem": "Find x = 2.", "answer": "2"}, {"problem": "Find y = 5.", "answer": "5"}]
    paths = {
        "open_rs": str(write_rows(tmp_path / "rs.jsonl", hard)),
        "open_s1": str(write_rows(tmp_path / "s1.jsonl", known)),
        "advbench": str(write_rows(tmp_path / "requests.jsonl", [{"goal": "Do harm", "target": "Sure"}])),
    }
    config = EvalConfig(benchmarks=("open_rs:hard", "advbench", "open_s1:all"), paths=paths)
    open_rs, advbench, open_s1 = read_benchmarks(config)
    assert [problem.answer for problem in open_rs.problems] == ["0", "1", "3"]
    assert [problem.question for problem in advbench.problems] == ["Do harm"]
    assert len(open_s1.problems) == 2


def test_open_s1_in_its_documented_shape_is_judged_as_mathematics(tmp_path: Path) -> None:
    row = {"solution": r"Thus \boxed{\frac{3}{4}}.", "source": "s1", "messages": [{"role": "user", "content": "Go."}]}
    rows = [
        {**row, "problem": "Half of 3/2?", "answer": r"\frac{3}{4}", "completion": r"So \boxed{0.75}."},
        {**row, "problem": "Three quarters?", "completion": r"So \boxed{\frac{4}{3}}."},  # the gold out of the solution
    ]
    report = scored(write_rows(tmp_path / "rows.jsonl", rows), "open_s1")
    assert [problem.score for problem in report.problems] == [1.0, 0.0]
    assert (report.num_problems, report.unverified, report.name) == (2, 0, "open_s1:all")


def test_agieval_in_a_folder_is_read_by_exam(shared_data: Path) -> None:
    config = EvalConfig(source=SourceConfig(path=str(shared_data / "agieval")))
    found = read_benchmark(config, "agieval")
    assert len(found.problems) == 2_895
    tasks = [json.loads(problem.metadata)["task"] for problem in found.problems]
    assert {name: tasks.count(name) for name in tasks} == {
        "aqua-rat": 254, "lsat-ar": 230, "lsat-lr": 510, "lsat-rc": 269,
        "math": 1_000, "sat-en": 206, "sat-en-without-passage": 206, "sat-math": 220,
    }  # fmt: skip


def test_a_folder_is_only_for_benchmarks_of_several_parts(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="is a folder"):
        read_benchmark(EvalConfig(source=SourceConfig(path=str(tmp_path))), "gsm8k")
    with pytest.raises(DistillError, match="holds none of the parts"):
        read_benchmark(EvalConfig(source=SourceConfig(path=str(tmp_path))), "agieval")


def test_the_mean_out_of_distribution_is_unweighted_and_says_which_of_sloweds_are_missing(tmp_path: Path) -> None:
    def arc(name: str, right: int, wrong: int) -> Report:
        rows = [
            {"question": f"{n}?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "A", "id": str(n)}
            | {"completion": "The answer is (A)." if n < right else "The answer is (B)."}
            for n in range(right + wrong)
        ]
        return scored(write_rows(tmp_path / f"{name}.jsonl", rows), name)

    easy, hard = arc("arc_easy", 9, 1), arc("arc_challenge", 1, 1)
    # 0.9 and 0.5, of 10 and 2 problems: macro 0.7, micro 10/12; squared errors 0.09/9 and 0.25/1
    macro, error = macro_accuracy([easy, hard])
    assert (macro, error) == (pytest.approx(0.7), pytest.approx((0.01 + 0.25) ** 0.5 / 2))
    assert micro_accuracy([easy, hard]) == pytest.approx(10 / 12)
    first, second = mean_lines([easy, hard])
    assert first == "mean of 2 benchmarks: 70.0 % ± 25.5 (standard error), 83.3 % over all problems"
    assert second.startswith("out of distribution as in SLowED (arc_challenge, arc_easy): 70.0 %")
    assert second.endswith("SLowED's also has bb_sub, agieval")
    assert list(mean_lines([easy])) == []


def test_the_plain_prompt_of_bbh_begins_with_the_description_of_its_task(tmp_path: Path) -> None:
    card = load_card("bbh")
    assert card.hub is not None
    assert set(card.descriptions) == set(card.hub.parts)
    rows = [{"task": "navigate", "input": "Left?", "target": "No"}]
    rows.append({**rows[0], "task_description": "Walk."})
    config = EvalConfig(source=SourceConfig(path=str(write_rows(tmp_path / "bbh.jsonl", rows))))
    config = config.model_copy(update={"prompt": PromptConfig(format="plain", system="")})
    found = read_benchmark(config, "bbh:all")
    ours, theirs = (build_prompt(problem, found.prompt, None).text for problem in found.problems)
    assert ours == f"Task Description:\n{card.descriptions['navigate']}\nQ:Left?\n\nA:"
    assert theirs == "Task Description:\nWalk.\nQ:Left?\n\nA:"
