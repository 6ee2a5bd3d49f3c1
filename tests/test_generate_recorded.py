"""Recorded completions: how a row is read, how it finds its problem, and what is said of a bad file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.config import RecordedConfig, SamplingConfig, TeacherConfig
from distill.errors import DistillError
from distill.generate.base import BackendOptions
from distill.generate.recorded import RecordedBackend
from distill.records import Group, Problem, Prompt
from tests.tiny import save_tiny, tiny_tokenizer

Rows = Sequence[dict[str, Any]]


def write_jsonl(folder: Path, rows: Rows) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def write_gzip(folder: Path, rows: Rows) -> Path:
    path = folder / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(write_jsonl(folder, rows).read_bytes()))
    return path


def write_parquet(folder: Path, rows: Rows) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=2)
    return path


def open_recorded(
    path: Path, *, num_completions: int = 8, teacher: str = "tiny-teacher", **config: Any
) -> RecordedBackend:
    return RecordedBackend(
        BackendOptions(
            TeacherConfig(model=teacher),
            SamplingConfig(num_completions=num_completions),
            RecordedConfig(path=str(path), **config),
        )
    )


def ask(problem_id: str, question: str = "?") -> tuple[Problem, Prompt]:
    return Problem(problem_id, question, "4"), Prompt((), "plain", question)


def read(path: Path, *ids: str, **config: Any) -> list[Group]:
    backend = open_recorded(path, **config)
    groups = list(backend.sample(ask(problem_id) for problem_id in ids))
    backend.close()
    return groups


def texts(groups: Iterable[Group]) -> list[list[str]]:
    return [[completion.text for completion in group.completions] for group in groups]


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny(tmp_path_factory.mktemp("tokenizer")))


PER_PROBLEM = [
    {"id": "a", "completions": ["one", "", "drei ü"], "num_tokens": [3, 0, 6]},
    {"id": "b", "completions": ["vier"], "num_tokens": [4]},
    {"id": "c", "completions": [], "num_tokens": []},
    {"id": "d", "completions": ["five", "six"], "num_tokens": [4, 3]},
    {"id": "e", "completions": ["seven"], "num_tokens": [5]},
]


@pytest.mark.parametrize("write", [write_jsonl, write_gzip, write_parquet])
def test_every_format_is_read_in_any_order_of_problems(tmp_path: Path, write: Any) -> None:
    path = write(tmp_path, PER_PROBLEM)
    expected = [["seven"], ["one", "", "drei ü"], [], ["five", "six"], [], ["vier"]]
    assert texts(read(path, "e", "a", "c", "d", "unknown", "b")) == expected


@pytest.mark.parametrize("write", [write_jsonl, write_parquet])
def test_one_row_per_completion_makes_a_group_in_the_order_of_the_file(tmp_path: Path, write: Any) -> None:
    rows = [
        {"id": "a", "completion": "first", "num_tokens": 5, "model": "m1"},
        {"id": "b", "completion": "other", "num_tokens": 5, "model": "m1"},
        {"id": "a", "completion": "second", "num_tokens": 6, "model": "m2"},
    ]
    (group,) = read(write(tmp_path, rows), "a")
    assert [(c.text, c.num_tokens, c.model) for c in group.completions] == [("first", 5, "m1"), ("second", 6, "m2")]


def test_many_rows_of_one_problem_keep_their_order(tmp_path: Path) -> None:
    rows = [{"id": n % 3, "completion": str(n), "num_tokens": 1} for n in range(300)]
    (group,) = read(write_jsonl(tmp_path, rows), "2", num_completions=200)
    assert [completion.text for completion in group.completions] == [str(n) for n in range(2, 300, 3)]


def test_values_inside_objects_and_lists_are_named_by_a_path(tmp_path: Path) -> None:
    row = {
        "meta": {"key": "a"},
        "runs": [{"model": "m1", "out": {"text": "x", "n": 1}}, {"model": "m2", "out": {"text": "yy", "n": 2}}],
    }
    paths = {"id": "meta.key", "completions": "runs[].out.text", "models": "runs[].model", "num_tokens": "runs[].out.n"}
    (group,) = read(write_jsonl(tmp_path, [row]), "a", **paths)
    assert [(c.text, c.model, c.num_tokens) for c in group.completions] == [("x", "m1", 1), ("yy", "m2", 2)]


def test_a_list_of_paths_takes_one_completion_from_each(tmp_path: Path) -> None:
    row = {"id": "a", "small": {"text": "x", "n": 1}, "large": {"text": "yy", "n": 2}}
    paths = {"completions": ("small.text", "large.text"), "num_tokens": ("small.n", "large.n"), "models": ("S", "L")}
    (group,) = read(write_jsonl(tmp_path, [row]), "a", **paths)
    assert [(c.text, c.model, c.num_tokens) for c in group.completions] == [("x", "S", 1), ("yy", "L", 2)]


def test_a_single_value_beside_a_list_of_completions_is_true_of_all(tmp_path: Path) -> None:
    row = {"id": "a", "completions": ["x", "yy"], "num_tokens": [1, 2], "model": "m", "finish_reason": "stop"}
    (group,) = read(write_jsonl(tmp_path, [row]), "a")
    assert [(c.model, c.finish_reason) for c in group.completions] == [("m", "stop")] * 2


@pytest.mark.parametrize(
    ("recorded", "reason"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        (None, "unknown"),
        ("?", "unknown"),
    ],
)
def test_finish_reasons_of_other_engines_are_understood(tmp_path: Path, recorded: str | None, reason: str) -> None:
    row = {"id": "a", "completion": "x", "num_tokens": 1, "finish_reason": recorded}
    (group,) = read(write_jsonl(tmp_path, [row]), "a")
    assert group.completions[0].finish_reason == reason


def test_the_question_joins_where_there_is_no_id_and_white_space_does_not_count(tmp_path: Path) -> None:
    rows = [{"question": " What is\n2+2? ", "completions": ["4"], "num_tokens": [1]}]
    backend = open_recorded(write_jsonl(tmp_path, rows))
    assert texts(backend.sample([ask("any", "What is 2+2?"), ask("other", "What is 2+3?")])) == [["4"], []]
    backend.close()


def test_a_named_question_is_used_even_where_there_are_ids(tmp_path: Path) -> None:
    rows = [{"id": 1, "q": "What?", "completions": ["4"], "num_tokens": [1]}]
    backend = open_recorded(write_jsonl(tmp_path, rows), question="q")
    assert texts(backend.sample([ask("1", "Who?"), ask("x", "What?")])) == [[], ["4"]]
    backend.close()
    assert texts(read(write_jsonl(tmp_path, rows), "1", "x")) == [["4"], []]  # a number is an id too


def test_more_completions_than_wanted_are_left_out_and_counted(tmp_path: Path) -> None:
    backend = open_recorded(write_jsonl(tmp_path, PER_PROBLEM), num_completions=2)
    assert texts(backend.sample(ask(row["id"]) for row in PER_PROBLEM)) == [
        ["one", ""],
        ["vier"],
        [],
        ["five", "six"],
        ["seven"],
    ]
    assert backend.num_surplus == 1
    backend.close()


def test_a_null_is_no_completion_and_takes_its_neighbours_with_it(tmp_path: Path) -> None:
    row = {"id": "a", "completions": ["x", None, "y"], "models": ["1", "2", "3"], "num_tokens": [1, None, 1]}
    (group,) = read(write_jsonl(tmp_path, [row]), "a")
    assert [(c.text, c.model) for c in group.completions] == [("x", "1"), ("y", "3")]


def test_token_ids_are_taken_as_they_are(tmp_path: Path) -> None:
    row = {"id": "a", "completions": ["x", "y"], "completion_ids": [[7, 2], [8]], "finish_reasons": ["stop", "length"]}
    (group,) = read(write_jsonl(tmp_path, [row]), "a")
    assert [(c.token_ids, c.num_tokens) for c in group.completions] == [((7, 2), 2), ((8,), 1)]
    assert group.tokenizer_fingerprint == ""


def test_a_named_tokenizer_encodes_and_appends_its_end_token_where_a_completion_stopped(
    tmp_path: Path, tokenizer_folder: str
) -> None:
    end = tiny_tokenizer().eos_token_id
    encoded = tuple(tiny_tokenizer()("<think>é", add_special_tokens=False)["input_ids"])
    row = {
        "id": "a",
        "completions": ["<think>é", "<think>é", "<think>é", ""],
        "finish_reasons": ["stop", "length", None, None],
        "completion_ids": [[999]] * 4,  # another tokenizer's, for nothing says that they are not
    }
    (group,) = read(write_jsonl(tmp_path, [row]), "a", tokenizer=tokenizer_folder)
    assert [c.token_ids for c in group.completions] == [(*encoded, end), encoded, encoded, ()]
    assert [c.num_tokens for c in group.completions] == [len(encoded) + 1, len(encoded), len(encoded), 0]
    (named,) = read(write_jsonl(tmp_path, [row]), "a", tokenizer=tokenizer_folder, token_ids="completion_ids")
    assert {c.token_ids for c in named.completions} == {(999,)}


def test_the_label_is_the_files_name_unless_a_teacher_is_named(tmp_path: Path) -> None:
    path = write_gzip(tmp_path, PER_PROBLEM)
    assert read(path, "a")[0].teacher == "rows"
    assert read(path, "a", teacher="gpt-3")[0].teacher == "gpt-3"


@pytest.mark.parametrize(
    ("rows", "config", "message", "hint"),
    [
        ([{"id": 1, "completions": ["x"]}], {}, "nothing tells how many tokens", "recorded.tokenizer"),
        ([{"id": 1, "text": "x"}], {}, "no column of completions", "recorded.completions"),
        ([{"name": 1, "completions": ["x"]}], {}, "no column of ids or questions", "recorded.id"),
        (
            [{"id": 1, "completion": "x", "num_tokens": 1}] * 2 + [{"id": 2}],
            {},
            "line 3 has no 'completion'",
            "found: id",
        ),
        ([{"id": 1, "completions": [{"text": "x"}], "num_tokens": [1]}], {}, "object with the keys text", "[].text"),
        ([{"id": 1, "completions": ["x"], "num_tokens": [1, 2]}], {}, "1 completions but 2 of 'num_tokens'", ""),
        ([{"id": 1, "completions": ["x"], "num_tokens": [None]}], {}, "line 1 does not tell how many", "tokenizer"),
        ([{"id": 1, "completions": ["x"], "num_tokens": [1.5]}], {}, "'1.5' tokens, expected a whole", ""),
        ([{"id": 1, "completions": ["x"], "num_tokens": [2**31]}], {}, "'2147483648' tokens, which no model", ""),
        ([{"id": 1, "completions": ["x"], "num_tokens": [-7]}], {}, "line 1 does not tell how many", "tokenizer"),
        ([{"id": 1, "completions": ["x"], "token_ids": [3]}], {}, "not a list of integers", ""),
        ([{"id": 1, "completions": ["x"], "token_ids": [[3, -5]]}], {}, "'-5' is no token id", "--tokenizer"),
        ([{"id": 1, "completions": ["x"], "token_ids": [[2**31]]}], {}, "'2147483648' is no token id", "--tokenizer"),
        ([{"id": 1, "completions": [7], "num_tokens": [1]}], {}, "a completion is a int", ""),
        ([{"id": None, "completion": "x", "num_tokens": 1}], {}, "'id' is 'None'", ""),
        ([{"id": 1, "a": "x", "n": 1}], {"completions": ("a",), "models": ("m", "l")}, "2 values for 1 paths", "each"),
        ([{"id": 1, "a": "x", "n": 1}], {"completions": "a[]", "num_tokens": "n"}, "expected a list", "[]"),
        (
            [{"id": 1, "a": ["x"], "n": 1}],
            {"completions": "a.b", "num_tokens": "n"},
            "'b' is looked for in a list",
            "[]",
        ),
    ],
)
def test_what_does_not_fit_is_said_when_the_backend_is_opened(
    tmp_path: Path, rows: Rows, config: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(DistillError) as caught:
        open_recorded(write_jsonl(tmp_path, rows), **config)
    assert message in str(caught.value)
    assert hint in caught.value.hint


GOOD = b'{"id": 1, "completion": "x", "num_tokens": 1}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no rows"),
        (b"\n \n", "has no rows"),
        (GOOD + b"\r\n" + GOOD + b'{"id": \n', "line 4 is not JSON"),
        (GOOD + '{"id": 1, "completion": "ü"}\n'.encode("latin-1"), "line 2 is not UTF-8: byte 26 is 0xfc"),
        (GOOD + b"[1]\n", "line 2 holds a list, expected an object"),
        (GOOD + b"9" * 5000 + b"\n", "line 2 is not JSON: Exceeds the limit (4300 digits)"),
        (GOOD + b"[" * 100_000 + b"\n", "line 2 is not JSON: nested too deeply"),
        (gzip.compress(GOOD * 50, mtime=0)[:40], "cannot be unpacked"),
        (b"PAR1 and no more", "cannot be read as Parquet"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DistillError) as caught:
        open_recorded(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD + b"\r\n \n" + GOOD.replace(b"1, ", b"2, ", 1).strip())
    assert texts(read(path, "1", "2")) == [["x"], ["x"]]


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    (tmp_path / "completions.jsonl").write_bytes(GOOD)
    with pytest.raises(DistillError, match=r"no file '.*completion\.jsonl'") as raised:
        open_recorded(tmp_path / "completion.jsonl")
    assert raised.value.hint == "did you mean 'completions.jsonl'?"
    with pytest.raises(DistillError, match="is a folder"):
        open_recorded(tmp_path)
    with pytest.raises(DistillError, match="needs a file of completions"):
        RecordedBackend(BackendOptions())


def test_half_a_surrogate_pair_becomes_a_question_mark_before_anything_is_counted(tmp_path: Path) -> None:
    save_tiny(tmp_path / "tiny")
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": 1, "completion": "a \\ud800"}\n')
    ((completion,),) = (group.completions for group in read(path, "1", tokenizer=str(tmp_path / "tiny")))
    assert completion.text == "a ?"
    assert completion.num_tokens == 3  # a token per byte; nothing says that it stopped


def test_rows_of_equal_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.generate.recorded._hash", lambda _: 1)
    assert texts(read(write_jsonl(tmp_path, PER_PROBLEM), "d", "b")) == [["five", "six"], ["vier"]]


def gsm8k(shared_data: Path, limit: int) -> Iterator[tuple[Problem, Prompt]]:
    with (shared_data / "gsm8k" / "test.jsonl").open(encoding="utf-8") as file:
        for number, line in zip(range(limit), file, strict=False):
            yield ask(f"any/{number}", json.loads(line)["question"])


def test_real_solutions_of_four_models_are_joined_by_question(shared_data: Path, tokenizer_folder: str) -> None:
    models = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    backend = open_recorded(
        shared_data / "gsm8k" / "example_model_solutions.jsonl",
        completions=tuple(f"{model}.solution" for model in models),
        models=models,
        tokenizer=tokenizer_folder,
    )
    groups = list(backend.sample(gsm8k(shared_data, 40)))
    assert [len(group.completions) for group in groups] == [4] * 40
    assert [completion.model for completion in groups[0].completions] == list(models)
    assert all("A: " in completion.text for completion in groups[0].completions)
    assert all(completion.num_tokens == len(completion.text.encode()) for completion in groups[0].completions)
    backend.close()


def test_all_real_groups_of_eight_are_found_by_id(shared_data: Path, tokenizer_folder: str) -> None:
    path = shared_data / "zeroeval" / "gsm8k_test_8_models.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        ids = [json.loads(line)["id"] for line in file]
    paths = {"completions": "completions[].text", "models": "completions[].model"}
    backend = open_recorded(path, num_completions=1, tokenizer=tokenizer_folder, **paths)
    models = {group.completions[0].model for group in backend.sample(ask(problem_id) for problem_id in ids)}
    assert len(ids) == 1319
    assert backend.num_surplus == 7 * 1319
    assert models == {"gemma-2-2b-it"}  # the first of the eight
    backend.close()
