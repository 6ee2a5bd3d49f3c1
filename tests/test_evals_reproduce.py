"""Published figures out of the completions that they were made of; docs/evaluation.md has them as a table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.reproduction import (
    GPT_3,
    bbh,
    bbh_file,
    gsm8k,
    llama_file,
    mmlu_pro_file,
    mmlu_pro_sample,
    mmlu_pro_whole,
    num_right,
    read_rows,
)


def test_four_gpt_3_models_on_gsm8k(shared_data: Path) -> None:
    reports = gsm8k(shared_data)
    assert {report.model: round(100 * report.accuracy, 1) for report in reports} == GPT_3
    assert [(report.name, report.num_problems, report.unverified) for report in reports] == [
        ("gsm8k:test", 1_319, 0)
    ] * 4


def test_codex_on_each_of_the_27_tasks_of_bbh(shared_data: Path) -> None:
    report, rows = bbh(shared_data), read_rows(bbh_file(shared_data))
    right, total = Counter(row["task"] for row in rows if row["correct"]), Counter(row["task"] for row in rows)
    assert {part.name: (part.num_problems, part.accuracy) for part in report.parts} == {
        task: (count, pytest.approx(right[task] / count)) for task, count in total.items()
    }
    assert (len(report.parts), report.num_problems, report.by) == (27, 6_511, "task")
    assert report.macro_accuracy == pytest.approx(sum(right[task] / total[task] for task in total) / 27)
    assert report.rules["authors"].disagreements == 0
    # lm-eval's pattern drops a last character: 4,813 of the 4,816 are left.
    assert (report.rules["lm-eval"].disagreements, report.rules["lm-eval"].only_rule) == (3, 0)


def test_fifteen_models_on_mmlu_pro_as_the_authors_extraction_has_them(shared_data: Path) -> None:
    reports, rows = mmlu_pro_sample(shared_data), read_rows(mmlu_pro_file(shared_data))
    right = Counter(row["model"] for row in rows if row["recomputed_pred"] == row["gold"])
    assert {report.model: report.rules["authors"].accuracy * report.num_problems for report in reports} == {
        model: pytest.approx(count) for model, count in right.items()
    }
    assert [report.num_problems for report in reports] == [400] * 15
    # Texts that go on to answer questions of their own: theirs takes the first answer, ours none.
    assert sum(report.rules["authors"].disagreements for report in reports) <= 75


@pytest.mark.slow
def test_llama_on_the_whole_of_mmlu_pro(shared_data: Path) -> None:
    report, rows = mmlu_pro_whole(shared_data), read_rows(llama_file(shared_data))
    published = sum(row["pred"] == row["answer"] for row in rows)
    assert (published, len(rows)) == (5_317, 12_032)  # 44.2 %
    # 694 of the stored letters are guesses, drawn where the patterns find nothing; 73 of these are right.
    authors = report.rules["authors"]
    assert (report.num_problems, report.absent, authors.no_answer) == (12_032, 0, 694)
    assert authors.accuracy * len(rows) == pytest.approx(published - 73)
    assert (num_right(report), authors.disagreements, authors.only_rule) == (published - 73 - 39, 39, 39)
