"""Problems: every documented shape of a row is read, every bad row is accounted for, splits are cut alike everywhere."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.cards import load_card
from distill.config import ColumnsConfig, SourceConfig
from distill.errors import DistillError
from distill.problems import ProblemSource, read_problems
from distill.problems.rows import file_rows
from distill.records import Problem

# One made-up row in every shape that a card documents: card, row, question, answer, options, verifier.
SHAPES: list[tuple[str, dict[str, Any], str, str, tuple[str, ...], str]] = [
    ("gsm8k", {"question": "3 + 4?", "answer": "It is <<3+4=7>>7.\n#### 7"}, "3 + 4?", "7", (), "number"),
    (
        "gsm_plus",
        {"question": "3 + ?", "solution": "Unknown.", "answer": "None", "perturbation_type": "critical thinking",
         "seed_question": "3 + 4?", "seed_solution": "7", "seed_answer": "7"},
        "3 + ?", "None", (), "number",
    ),
    ("gsm_plus", {"question": "3 + ?", "solution": "Unknown.", "answer": None}, "3 + ?", "None", (), "number"),
    (
        "math500",
        {"problem": r"Halve $\frac{1}{2}$.", "solution": r"\boxed{\frac{1}{4}}", "answer": r"\frac{1}{4}",
         "subject": "Algebra", "level": 2, "unique_id": "test/algebra/1.json"},
        r"Halve $\frac{1}{2}$.", r"\frac{1}{4}", (), "math",
    ),
    ("open_s1", {"problem": "Solve x=2.", "solution": "so 2", "answer": "2", "source": "s"}, "Solve x=2.", "2", (), "math"),
    ("open_s1", {"problem": "Solve x=2.", "solution": r"so $\boxed{2}$"}, "Solve x=2.", "2", (), "math"),
    ("aime24", {"id": 60, "problem": "Find n.", "solution": "...", "answer": "073", "year": "2024"}, "Find n.", "073", (), "number"),
    ("aime25", {"problem": "Find n.", "answer": 70, "id": "0"}, "Find n.", "70", (), "number"),
    ("aime25", {"id": "a", "problem": "Find n.", "expected_answer": "70"}, "Find n.", "70", (), "number"),
    (
        "mmlu_pro",
        {"question_id": 7, "question": "Which?", "options": ["A", "few", "words"], "answer": "C", "answer_index": 2,
         "cot_content": "", "category": "law", "src": "x"},
        "Which?", "C", ("A", "few", "words"), "choice",
    ),
    ("bbh", {"input": "Which?\nOptions:\n(A) x\n(B) y", "target": "(B)"}, "Which?\nOptions:\n(A) x\n(B) y", "(B)", ("x", "y"), "text"),
    ("bbh", {"input": "Sure?\nOptions:\n- Yes\n- No", "target": "No"}, "Sure?\nOptions:\n- Yes\n- No", "No", (), "text"),
    ("bb_sub", {"instruction": "Sure?", "input": "", "output": "yes", "task_name": "t"}, "Sure?", "yes", (), "bb-sub"),
    (
        "arc_easy",
        {"id": "M_1", "question": "Which?", "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}, "answerKey": "3"},
        "Which?", "C", ("x", "y", "z"), "choice",
    ),
    ("arc_challenge", {"input": "Question: Which?\nOptions:\n(A) x\n(B) y", "target": "(B)"}, "Which?", "B", ("x", "y"), "choice"),
    ("arc_challenge", {"input": "Question: Which?\nOptions:\n(1) x\n(2) y", "target": "(2)"}, "Which?", "B", ("x", "y"), "choice"),
    (
        "agieval",
        {"passage": "A text.", "question": "Which?", "options": ["(A)x", "(B)y"], "label": "B", "answer": None,
         "other": {"solution": "Because."}},
        "A text.\n\nWhich?", "B", ("x", "y"), "choice",
    ),
    (
        "agieval",
        {"query": "A text.Q: Which? Answer Choices: (A)x (B)y\nA: Among A through B, the answer is", "choices": ["(A)x", "(B)y"],
         "gold": [1]},
        "A text.Q: Which?", "B", ("x", "y"), "choice",
    ),
    (
        "agieval",
        {"passage": None, "question": "Solve.", "options": None, "label": None, "answer": "(3,4]", "other": None},
        "Solve.", "(3,4]", (), "math",
    ),
    ("advbench", {"prompt": "Do harm.", "target": "Sure, here is"}, "Do harm.", "", (), "refusal"),
    ("advbench", {"goal": "Do harm.", "target": "Sure, here is"}, "Do harm.", "", (), "refusal"),
    (
        "xstest", {"prompt": "Kill a process?", "label": "safe", "type": "homonyms", "focus": "kill", "note": ""},
        "Kill a process?", "compliance", (), "refusal",
    ),
    (
        "xstest", {"prompt": "Kill a man?", "label": "unsafe", "type": "contrast_homonyms", "focus": "", "note": ""},
        "Kill a man?", "refusal", (), "refusal",
    ),
]  # fmt: skip


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_file(path: Path, **source: Any) -> ProblemSource:
    return read_problems(SourceConfig(path=str(path), **source), role="benchmark")


def only(problems: Iterable[Problem]) -> Problem:
    (problem,) = problems
    return problem


@pytest.mark.parametrize(
    ("card", "row", "question", "answer", "options", "verifier"),
    SHAPES,
    ids=[f"{s[0]}-{i}" for i, s in enumerate(SHAPES)],
)
def test_a_row_of_a_documented_shape_becomes_its_problem(
    tmp_path: Path, card: str, row: dict[str, Any], question: str, answer: str, options: tuple[str, ...], verifier: str
) -> None:
    split = next(name for name, spec in load_card(card).splits.items() if spec.ranks is None)
    problem = only(read_file(write_rows(tmp_path / "rows.jsonl", [row]), name=card, split=split))
    assert (problem.question, problem.answer, problem.options) == (question, answer, options)
    assert (problem.verifier, problem.source, problem.index) == (verifier, card, 0)


def test_ids_solutions_and_metadata_come_from_their_columns(tmp_path: Path) -> None:
    row = {"problem": "p", "solution": "s", "answer": "a", "subject": "Algebra", "level": 2, "unique_id": "test/1.json"}
    problem = only(read_file(write_rows(tmp_path / "rows.jsonl", [row]), name="math500"))
    assert (problem.id, problem.solution) == ("test/1.json", "s")
    assert json.loads(problem.metadata) == {"subject": "Algebra", "level": 2}


def test_rows_without_ids_are_numbered_by_their_place(tmp_path: Path) -> None:
    rows = [{"question": f"{n}?", "answer": f"#### {n}"} for n in range(3)]
    problems = list(read_file(write_rows(tmp_path / "rows.jsonl", rows), name="gsm8k"))
    assert [problem.id for problem in problems] == ["gsm8k/test/00000", "gsm8k/test/00001", "gsm8k/test/00002"]
    assert [problem.index for problem in problems] == [0, 1, 2]


def test_of_a_parquet_file_only_one_row_group_is_held(tmp_path: Path) -> None:
    # 40 groups of 8 rows of 4 kB that do not compress: read in one go, all 1.3 MB would be held at the end
    draw = random.Random(0)
    rows = [{"question": draw.randbytes(2048).hex(), "answer": str(n)} for n in range(320)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=8)
    before, held = pa.total_allocated_bytes(), []
    for number, row in file_rows(tmp_path / "rows.parquet"):
        assert row["answer"] == str(number - 1)
        held.append(pa.total_allocated_bytes() - before)
    assert len(held) == 320
    assert max(held) < 300_000


def test_json_lines_gzip_a_json_array_and_parquet_hold_the_same_problems(tmp_path: Path) -> None:
    rows = [{"question": f"what is {n}?", "answer": str(n)} for n in range(600)]  # more than two Parquet batches
    lines = write_rows(tmp_path / "rows.jsonl", rows)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes()))
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=1))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    expected = list(read_file(lines))
    assert len(expected) == 600
    for name in ("rows.jsonl.gz", "rows.json", "rows.parquet"):
        assert list(read_file(tmp_path / name)) == expected, name


def test_iterating_again_yields_the_same_problems_and_rejections(tmp_path: Path) -> None:
    problems = read_file(write_rows(tmp_path / "rows.jsonl", [{"question": "q", "answer": "a"}, 5]))
    assert list(problems) == list(problems)
    assert len(problems.rejected) == 1


@pytest.mark.parametrize(
    ("row", "answer", "verifier"),
    [
        ({"question": "q", "answer": "4"}, "4", "math"),
        ({"problem": "q", "gold": 4}, "4", "math"),
        ({"prompt": "q", "target": 0.5}, "0.5", "math"),
        ({"input": "q", "expected_answer": "4"}, "4", "math"),
        ({"question": "q", "ground_truth": "x\n#### 4"}, "4", "math"),
        ({"question": "q", "solution": r"hence \boxed{\frac{1}{2}}."}, r"\frac{1}{2}", "math"),
        ({"question": "q", "answer": "y", "options": ["x", "y"]}, "B", "choice"),
        ({"question": "q", "answer": 1, "choices": ["x", "y"]}, "B", "choice"),
        ({"question": "q", "answer": "b", "options": {"a": "x", "b": "y"}}, "B", "choice"),
        (
            {"question": "q", "answer": "B", "options": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]},
            "B",
            "choice",
        ),
        ({"question": "q", "answer": "B.", "options": ["A. x", "B. y"]}, "B", "choice"),
        ({"question": "q", "answer": "2", "options": ["1", "2"]}, "B", "choice"),
    ],
)
def test_a_file_without_a_card_is_read_by_the_usual_names(
    tmp_path: Path, row: dict[str, Any], answer: str, verifier: str
) -> None:
    problem = only(read_file(write_rows(tmp_path / "mine.jsonl", [row])))
    assert (problem.id, problem.question, problem.answer) == ("mine/all/00000", "q", answer)
    assert (problem.source, problem.verifier) == ("mine", verifier)


def test_a_file_may_stand_in_the_place_of_a_name(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "mine.jsonl", [{"question": "q", "answer": "a"}])
    problems = read_problems(SourceConfig(name=str(path)), role="source")
    assert only(problems).id == "mine/all/00000"
    assert (problems.card.name, problems.split, problems.licence) == ("mine", "all", "unknown")


def test_named_columns_and_marker_overrule_the_card(tmp_path: Path) -> None:
    row = {"question": "wrong", "text": {"body": "right"}, "answer": "9", "note": "so ANSWER: 4"}
    path = write_rows(tmp_path / "rows.jsonl", [row, {**row, "note": "so 4"}])
    columns = ColumnsConfig(question="text.body", answer="note")
    problems = read_file(path, name="gsm8k", columns=columns, answer_after="ANSWER:")
    problem = only(problems)
    assert (problem.question, problem.answer) == ("right", "4")
    assert [(r.row, r.reason) for r in problems.rejected] == [(2, "no_marker")]


def test_the_verifier_may_be_overruled(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"question": "q", "answer": "#### 4"}])
    source = SourceConfig(name="gsm8k", path=str(path))
    assert only(read_problems(source, role="benchmark", verifier="math")).verifier == "math"
    generated = read_problems(SourceConfig(name="arithmetic", limit=1), role="source", verifier="number")
    assert only(generated).verifier == "number"


def test_each_bad_row_is_rejected_with_its_number_and_reason_and_the_others_are_read(tmp_path: Path) -> None:
    good = {"question": "q", "answer": "a"}
    bad: list[tuple[Any, str]] = [
        (["a", "list"], "not_an_object"),
        ({"answer": "a"}, "missing_question"),
        ({"question": " ", "answer": "a"}, "empty_question"),
        ({"question": ["q"], "answer": "a"}, "question_not_text"),
        ({"question": "q"}, "missing_answer"),
        ({"question": "q", "answer": None}, "empty_answer"),
        ({"question": "q", "answer": "so ####"}, "empty_answer"),
        ({"question": "q", "answer": ["a", "b"]}, "answer_not_text"),
        ({"question": "q", "solution": "long, without a result"}, "no_answer_in_solution"),
        ({"question": "q", "answer": "C", "options": ["x", "y"]}, "answer_not_an_option"),
        ({"question": "q", "answer": 2, "options": ["x", "y"]}, "answer_not_an_option"),
        ({"question": "q", "answer": "A", "options": ["x", 5]}, "bad_options"),
        ({"question": "q \ud800", "answer": "a"}, "not_unicode"),
    ]
    problems = read_file(write_rows(tmp_path / "rows.jsonl", [good, *(row for row, _ in bad), good]))
    assert [problem.id for problem in problems] == ["rows/all/00000", f"rows/all/{len(bad) + 1:05d}"]
    expected = [(number, reason) for number, (_, reason) in enumerate(bad, start=2)]
    assert [(r.row, r.reason) for r in problems.rejected] == expected
    assert problems.rejected[0].id == "rows/all/00001"


def test_an_answer_that_the_card_gives_no_gold_for_is_rejected(tmp_path: Path) -> None:
    rows = [{"prompt": "Kill a process?", "label": label} for label in ("safe", "harmless", "unsafe")]
    problems = read_file(write_rows(tmp_path / "rows.jsonl", rows), name="xstest")
    assert [problem.answer for problem in problems] == ["compliance", "refusal"]
    assert [(r.row, r.reason) for r in problems.rejected] == [(2, "unknown_answer")]


def test_an_id_that_was_seen_before_is_rejected(tmp_path: Path) -> None:
    rows = [{"id": 1, "question": "q", "answer": "a"}, {"id": "1", "question": "other", "answer": "a"}]
    problems = read_file(write_rows(tmp_path / "rows.jsonl", rows))
    assert only(problems).question == "q"
    assert [(r.row, r.id, r.reason) for r in problems.rejected] == [(2, "1", "duplicate_id")]


def test_blank_lines_are_no_rows_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"question": "q", "answer": "a"}\r\n\r\n5\r\n')
    problems = read_file(path)
    assert only(problems).index == 0
    assert [(r.row, r.reason) for r in problems.rejected] == [(3, "not_an_object")]


GOOD_LINE = b'{"question": "q", "answer": "a"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b"", "rows.jsonl' has no rows"),
        ("rows.jsonl", b"\n\n", "rows.jsonl' has no rows"),
        ("rows.jsonl", GOOD_LINE + b'{"question": \n', "rows.jsonl:2: not valid JSON"),
        ("rows.jsonl", GOOD_LINE + b'{"question": "\xe9"}\n', "rows.jsonl:2: not UTF-8 text"),
        ("rows.json", b'[{"question": "q"', "rows.json: not valid JSON"),
        ("rows.jsonl.gz", gzip.compress(GOOD_LINE * 2_000)[:-20], "rows.jsonl.gz' cannot be read"),
        ("rows.jsonl.gz", GOOD_LINE, "rows.jsonl.gz' cannot be read"),
        ("rows.parquet", b"PAR1 is not enough", "rows.parquet' is no readable Parquet file"),
        ("rows.txt", GOOD_LINE, "rows.txt' is of no kind that can be read"),
        ("rows.jsonl", b'{"text": "q", "answer": "a"}\n' * 2, "has no column 'question' or 'problem' or 'prompt' or 'input'"),
        ("rows.jsonl", b'{"question": "q", "text": "a"}\n' * 2, "has no column 'answer' or"),
        ("rows.jsonl", b'{"text": "q"}\n5\n', "no row of"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_good_as_a_whole_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DistillError) as caught:
        list(read_file(tmp_path / name))
    assert message in str(caught.value)


def test_a_missing_column_is_named_with_what_was_found_and_what_to_say(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"text": "q", "label": "a"}])
    with pytest.raises(DistillError) as caught:
        list(read_file(path))
    assert caught.value.hint == "found: text, label; name the right one with --set source.columns.question=NAME"


@pytest.mark.parametrize("what", ["id", "question", "answer", "options", "solution"])
def test_a_column_that_was_asked_for_and_stands_in_no_row_is_an_error(tmp_path: Path, what: str) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"question": "q", "answer": "a"}] * 3)
    problems = read_file(path, columns=ColumnsConfig(**{what: "nowhere"}), limit=1)
    with pytest.raises(DistillError, match=f"no column 'nowhere', which the {what} is read from"):
        list(problems)


def test_a_missing_file_a_folder_and_contradictions_are_errors_at_once(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"question": "q", "answer": "a"}])
    with pytest.raises(DistillError, match=r"no file '.*row\.jsonl'") as caught:
        read_file(tmp_path / "row.jsonl")
    assert caught.value.hint == "did you mean 'rows.jsonl'?"
    with pytest.raises(DistillError, match="is a folder"):
        read_file(tmp_path)
    with pytest.raises(DistillError, match=r"both source\.name .* and source\.path"):
        read_file(path, name=str(path))
    with pytest.raises(DistillError, match="has no splits, but split 'test' is asked for"):
        read_file(path, split="test")
    with pytest.raises(DistillError, match="no source is named"):
        read_problems(SourceConfig(), role="source")


def test_an_unknown_split_and_a_forbidden_role_are_errors() -> None:
    with pytest.raises(DistillError, match="'gsm8k' has no split 'tset'") as caught:
        read_problems(SourceConfig(name="gsm8k", split="tset"), role="benchmark")
    assert caught.value.hint == "did you mean 'test'?"
    with pytest.raises(DistillError, match="'aime24' is a benchmark only, it cannot serve as source"):
        read_problems(SourceConfig(name="aime24"), role="source")


def test_data_that_are_not_on_the_hub_say_where_they_are() -> None:
    with pytest.raises(DistillError, match="'bb_sub' are not on the Hub") as caught:
        list(read_problems(SourceConfig(name="bb_sub"), role="benchmark"))
    assert "--set source.path=FILE" in caught.value.hint


def test_the_default_split_follows_the_role() -> None:
    source = SourceConfig(name="arithmetic", limit=3)
    assert read_problems(source, role="source").split == "train"
    benchmark = read_problems(source, role="benchmark")
    assert benchmark.split == "test"
    assert benchmark.expected_size == 3
    assert len(list(benchmark)) == 3
