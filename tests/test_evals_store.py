"""What is on disk while an evaluation runs, and what is made of it afterwards."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from distill.errors import DistillError
from distill.evals.store import JudgedGroup, Store
from distill.records import Completion, Group, Outcome, Problem, Prompt, Verdict

SETTINGS = {"model": "m", "sampling": {"temperature": 0.0, "stops": ("a", "b")}}


def judged_group(number: int, *, answer: str = "4") -> JudgedGroup:
    problem = Problem(id=f"p/{number}", question=f"{number} + ?", answer=answer, index=number, options=("x", "y"))
    completion = Completion(
        "caf\u00e9 \\boxed{4}\n\ud800",
        token_ids=(5, 6, 2),
        logprobs=(-0.5, -0.25, -1.0),
        finish_reason="length",
        seed=7,
    )
    group = Group(problem, Prompt((), "plain", "ask", (1, 2), opens_think=True), (completion,), "m", "f", "none")
    return JudgedGroup(group, (Verdict(Outcome.CORRECT, "4", "number", "boxed", "number"),), 0.5, 0.25)


def fill(folder: Path, count: int) -> bytes:
    store = Store(folder, SETTINGS)
    for number in range(count):
        store.append(judged_group(number))
    store.close()
    return (folder / "completions.jsonl").read_bytes()


def test_a_judged_group_comes_back_as_it_was_without_its_token_lists(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    store = Store(tmp_path, SETTINGS)
    read = store.read("p/0")
    store.close()
    written = judged_group(0)
    completion = written.group.completions[0]
    lean = replace(completion, token_ids=(), logprobs=None, num_tokens=3, think_opened=True)
    assert read == replace(
        written, group=replace(written.group, prompt=replace(written.group.prompt, token_ids=()), completions=(lean,))
    )


def test_the_problems_that_are_missing_are_those_without_a_whole_line(tmp_path: Path) -> None:
    problems = tuple(judged_group(number).group.problem for number in range(3))
    whole = fill(tmp_path, 2)
    for cut in (1, 40, len(whole.splitlines(keepends=True)[1])):
        (tmp_path / "completions.jsonl").write_bytes(whole[:-cut])
        store = Store(tmp_path, SETTINGS)
        assert [problem.id for problem in store.missing(problems)] == ["p/1", "p/2"]
        store.append(judged_group(1))
        store.close()
        assert (tmp_path / "completions.jsonl").read_bytes() == whole


def test_what_was_appended_is_on_disk_before_the_store_is_closed(tmp_path: Path) -> None:
    store = Store(tmp_path, SETTINGS)
    store.append(judged_group(0))
    assert len((tmp_path / "completions.jsonl").read_bytes().splitlines()) == 1
    store.close()


def test_without_a_folder_the_groups_are_held_all_the_same() -> None:
    store = Store(None, SETTINGS)
    store.append(judged_group(0))
    assert "p/0" in store
    assert store.read("p/0").verdicts == judged_group(0).verdicts
    store.close()


def test_groups_are_read_in_any_order_while_more_are_appended_and_after_a_resume(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    store = Store(tmp_path, SETTINGS)
    for number in range(3, 6):
        store.append(judged_group(number))
        assert store.read(f"p/{number - 3}").group.problem == judged_group(number - 3).group.problem
    assert [store.read(f"p/{n}").group.problem.index for n in (5, 0, 4, 1)] == [5, 0, 4, 1]
    store.close()
    assert len((tmp_path / "completions.jsonl").read_bytes().splitlines()) == 6


def test_other_settings_stop_the_resume_and_are_named(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    changed = {"model": "m", "sampling": {"temperature": 0.6, "stops": ["a", "b"]}, "seed": 3}
    with pytest.raises(DistillError) as error:
        Store(tmp_path, changed)
    assert str(error.value).endswith("other settings: sampling.temperature was 0.0, is 0.6; seed was nothing, is 3")
    assert "--out" in error.value.hint


def test_an_evaluation_that_made_nothing_binds_nobody_to_its_settings(tmp_path: Path) -> None:
    Store(tmp_path, SETTINGS).close()
    Store(tmp_path, {**SETTINGS, "prompt": "plain"}).close()
    assert json.loads((tmp_path / "settings.json").read_text())["prompt"] == "plain"


def test_never_wants_a_new_folder_and_always_an_old_one(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="no evaluation to resume"):
        Store(tmp_path / "new", SETTINGS, "always")
    Store(tmp_path / "new", SETTINGS, "never").close()
    with pytest.raises(DistillError, match="holds an evaluation already"):
        Store(tmp_path / "new", SETTINGS, "never")
    Store(tmp_path / "new", SETTINGS, "always").close()


def test_a_problem_that_asks_something_else_now_is_no_reason_to_reuse_its_completions(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    store = Store(tmp_path, SETTINGS)
    with pytest.raises(DistillError, match="problem 'p/0' is not the one"):
        store.missing((judged_group(0, answer="5").group.problem,))
    moved = replace(judged_group(0).group.problem, index=12)  # a higher limit may number problems anew
    assert store.missing((moved,)) == []
    store.close()


@pytest.mark.parametrize("line", [b"{}\n", b"[1]\n", b"not json\n", b"\xff\n"])
def test_a_whole_line_that_is_no_judged_group_is_an_error_that_names_it(tmp_path: Path, line: bytes) -> None:
    whole = fill(tmp_path, 2)
    (tmp_path / "completions.jsonl").write_bytes(whole + line + whole)
    with pytest.raises(DistillError, match="line 3 of"):
        Store(tmp_path, SETTINGS)


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_completions_without_readable_settings_are_not_resumed(tmp_path: Path, content: str | None) -> None:
    fill(tmp_path, 1)
    settings = tmp_path / "settings.json"
    settings.unlink()
    if content is not None:
        settings.write_text(content)
    with pytest.raises(DistillError, match="nothing says how its completions were made"):
        Store(tmp_path, SETTINGS)


def test_two_evaluations_do_not_share_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first = Store(tmp_path, SETTINGS)
    with pytest.raises(DistillError, match="another process works in"):
        Store(tmp_path, SETTINGS)
    first.close()
    Store(tmp_path, SETTINGS).close()


def test_a_line_is_plain_json_that_other_programs_can_read(tmp_path: Path) -> None:
    row = json.loads(fill(tmp_path, 1))
    assert row["completions"] == ["caf\u00e9 \\boxed{4}\n\ud800"]
    assert row["verdicts"] == [
        {"outcome": "correct", "answer": "4", "reason": "number", "tier": "boxed", "layer": "number"}
    ]


def test_memory_does_not_grow_with_what_was_written(tmp_path: Path) -> None:
    def long(number: int) -> JudgedGroup:
        judged = judged_group(number)
        completion = replace(judged.group.completions[0], text=f"{number}" * 100_000)
        return replace(judged, group=replace(judged.group, completions=(completion,)))

    for folder in (None, tmp_path):
        tracemalloc.start()
        store = Store(folder, SETTINGS)
        for number in range(50):
            store.append(long(number))
        assert sum(len(store.read(f"p/{number}").group.completions[0].text) for number in range(50)) == 9_000_000
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        store.close()
        assert held < 1_000_000
