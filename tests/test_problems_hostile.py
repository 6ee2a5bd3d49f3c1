"""Files that no careful program wrote: broken numbers, half characters, nothing where something should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.config import SourceConfig
from distill.errors import DistillError
from distill.problems import ProblemSource, read_problems


def written(path: Path, *lines: str) -> ProblemSource:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return read_problems(SourceConfig(name=str(path)), role="source")


def test_a_number_too_long_for_python_is_a_users_error_that_names_the_line(tmp_path: Path) -> None:
    source = written(tmp_path / "rows.jsonl", '{"question": "1?", "answer": 1}', f'{{"answer": {"9" * 5000}}}')
    with pytest.raises(DistillError, match=r"rows.jsonl:2: not valid JSON: .*4300 digits") as error:
        list(source)
    assert error.value.hint


def test_broken_json_is_reported_with_its_place(tmp_path: Path) -> None:
    # the 17 characters before the line's end leave a text open, and a text holds no end of line
    with pytest.raises(DistillError, match=r"rows.jsonl:1: .*Invalid control character at character 18$"):
        list(written(tmp_path / "rows.jsonl", '{"question": "cut'))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"question": "1?", "answer": NaN}', "empty_answer"),
        ('{"question": NaN, "answer": 1}', "empty_question"),
        ('{"question": "1?", "answer": "1", "level": "\\udfff"}', "not_unicode"),
        ('{"id": "\\ud800", "question": "1?", "answer": "1"}', "not_unicode"),
    ],
)
def test_a_row_that_cannot_be_stored_or_says_nothing_is_rejected_alone(tmp_path: Path, line: str, reason: str) -> None:
    source = written(tmp_path / "rows.jsonl", '{"question": "2?", "answer": "2"}', line)
    assert [problem.answer for problem in source] == ["2"]
    (rejected,) = source.rejected
    assert (rejected.row, rejected.reason) == (2, reason)
    rejected.id.encode()  # it is listed in a file, so it must be text that one can hold


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_is_an_error_with_a_hint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DistillError, match="has no rows") as error:
        list(read_problems(SourceConfig(name=str(tmp_path / "rows.jsonl")), role="source"))
    assert "right file" in error.value.hint


def test_a_missing_file_is_told_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="no file") as error:
        read_problems(SourceConfig(name=str(tmp_path / "rows.jsonl")), role="source")
    assert str(tmp_path) in error.value.hint
