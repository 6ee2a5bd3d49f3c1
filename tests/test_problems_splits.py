"""Splits and the Hub: a split is cut alike everywhere, and rows come part by part or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from distill.cards import Card, CardSplit, CardVerifier, HashRanks, load_card
from distill.config import SourceConfig
from distill.errors import DistillError
from distill.problems import ProblemSource, check_card_on_hub, read_problems


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_file(path: Path, **source: Any) -> ProblemSource:
    return read_problems(SourceConfig(path=str(path), **source), role="benchmark")


def cut_card(stop: int) -> Card:
    splits = {"test": CardSplit(ranks=HashRanks(stop=stop)), "train": CardSplit(ranks=HashRanks(start=stop))}
    return Card(
        name="cut", title="t", licence="MIT", roles=("source", "benchmark"), splits={**splits, "all": CardSplit()},
        verifier=CardVerifier(kind="math"),
    )  # fmt: skip


def read_cut(tmp_path: Path, rows: Iterable[Any], split: str, **source: Any) -> ProblemSource:
    card = cut_card(stop=20)
    (tmp_path / "cut.md").write_text(f"---\n{json.dumps(card.model_dump(mode='json'))}\n---\n")
    path = write_rows(tmp_path / "rows.jsonl", rows)
    return read_file(path, name=str(tmp_path / "cut.md"), split=split, **source)


def test_hash_cut_splits_are_disjoint_complete_exact_in_size_and_in_source_order(tmp_path: Path) -> None:
    rows = [{"question": f"what is {n}?", "answer": str(n)} for n in range(100)]
    test = [problem.index for problem in read_cut(tmp_path, rows, "test")]
    train = [problem.index for problem in read_cut(tmp_path, rows, "train")]
    assert len(test) == 20
    assert test == sorted(test)
    assert train == sorted(train)
    assert sorted(test + train) == list(range(100))


@pytest.mark.parametrize("with_ids", [True, False])
def test_a_hash_cut_does_not_depend_on_the_order_of_rows(tmp_path: Path, with_ids: bool) -> None:
    rows = [{"question": f"what is {n}?", "answer": str(n)} for n in range(100)]
    if with_ids:
        rows = [{"id": str(n), **row} for n, row in enumerate(rows)]
    forward = {problem.question for problem in read_cut(tmp_path, rows, "test")}
    backward = {problem.question for problem in read_cut(tmp_path, reversed(rows), "test")}
    assert forward == backward


def test_the_same_question_stands_on_one_side_of_a_cut_when_rows_have_no_ids(tmp_path: Path) -> None:
    rows = [{"question": f"what is {n % 50}?", "answer": str(n)} for n in range(100)]
    test = Counter(problem.question for problem in read_cut(tmp_path, rows, "test"))
    assert set(test.values()) == {2}


def test_a_limit_takes_the_first_problems_of_a_cut_split(tmp_path: Path) -> None:
    rows = [{"question": f"what is {n}?", "answer": str(n)} for n in range(100)]
    whole = [problem.id for problem in read_cut(tmp_path, rows, "test")]
    assert [problem.id for problem in read_cut(tmp_path, rows, "test", limit=5)] == whole[:5]


def test_a_file_too_small_to_cut_is_an_error(tmp_path: Path) -> None:
    rows = [{"question": f"what is {n}?", "answer": str(n)} for n in range(19)]
    for split in ("test", "train"):
        with pytest.raises(DistillError, match=f"has 19 problems, too few to cut '{split}' from"):
            list(read_cut(tmp_path, rows, split))


def test_a_split_may_be_the_rows_whose_column_holds_a_text(tmp_path: Path) -> None:
    rows = [{"problem": f"{n}?", "answer": str(n), "level": "Hard" if n % 3 else "Easy"} for n in range(9)]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    assert [problem.index for problem in read_file(path, name="open_rs", split="hard")] == [1, 2, 4, 5, 7, 8]
    write_rows(path, [row for row in rows if row["level"] == "Easy"])
    with pytest.raises(DistillError, match=r"no row of .* is a problem of split 'hard'"):
        list(read_file(path, name="open_rs", split="hard"))


# The Hub: real loading code, on a dataset that lies in a folder, in a process that may not use the network

HUB_SCRIPT = """
import sys
from distill.cards import Card, load_card
from distill.config import SourceConfig
from distill.errors import DistillError
from distill.problems import check_card_on_hub, read_problems

folder = sys.argv[1]
common = dict(title="t", licence="MIT", roles=["benchmark"], metadata={"task": "task"}, verifier={"kind": "math"})
card = Card(name="parts", hub={"id": folder + "/{part}", "parts": ["one", "two"]}, splits={"test": {"hub_split": "train"}}, **common)
open(folder + "/card.md", "w").write("---\\n" + card.model_dump_json() + "\\n---\\n")
problems = read_problems(SourceConfig(name=folder + "/card.md"), role="benchmark")
print([(p.id, p.question, p.metadata) for p in problems])
print(check_card_on_hub(card).ok)
wrong = card.model_copy(update={"columns": card.columns.model_copy(update={"question": ("text",)})})
print(check_card_on_hub(wrong).detail)
print(check_card_on_hub(load_card("gsm8k")).ok, check_card_on_hub(load_card("bb_sub")).ok, check_card_on_hub(load_card("arithmetic")).ok)
try:
    list(read_problems(SourceConfig(name="gsm8k"), role="benchmark"))
except DistillError as error:
    print(error, "|", error.hint)
"""


def test_rows_come_from_the_hub_part_by_part_and_without_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    for part in ("one", "two"):
        (tmp_path / part).mkdir()
        write_rows(tmp_path / part / "train.jsonl", [{"question": f"{part}?", "answer": "1"}])
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    command = [sys.executable, "-c", HUB_SCRIPT, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert (
        lines[0]
        == """[('parts/test/00000', 'one?', '{"task": "one"}'), ('parts/test/00001', 'two?', '{"task": "two"}')]"""
    )
    assert lines[1] == "True"
    assert lines[2] == "first row rejected: missing_question; columns found: task, question, answer"
    assert lines[3] == "False True True"
    assert lines[4].startswith("split 'test' of 'openai/gsm8k (main)' cannot be read from the Hub: ")
    assert "--set source.path=FILE" in lines[4].partition("|")[2]


def test_checking_a_card_without_hub_says_where_its_problems_come_from() -> None:
    check = check_card_on_hub(load_card("arithmetic"))
    assert (check.name, check.ok, check.detail) == (
        "arithmetic",
        True,
        "made by distill.arithmetic:arithmetic_problems",
    )
