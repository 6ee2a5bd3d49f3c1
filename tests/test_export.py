"""A curated dataset in other tools' shapes: what becomes of a group, and of the folder it is written to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from distill import DistillError, export_dataset, load_groups
from distill.config import LossConfig
from distill.publish import tables
from distill.publish.shapes import SHAPES, Choices, find_shape, shape_schema
from distill.records import Outcome
from distill.schema import row_to_group, row_to_scores
from distill.train.losses.base import JudgedGroup
from distill.train.losses.own import load_method
from tests.train_fixtures import CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED, completion, row, save_rows, sums

USER = {"role": "user", "content": "What is 3 + 3?"}
PROMPT = [{"role": "system", "content": "Think."}, USER]


def group(**changes: Any) -> dict[str, Any]:
    """Short and right, long and right, wrong, without an answer, unverified: rewards 2.0, 1.5, -1.0, -2.0, none."""
    texts = ("6", "3+3=6", "33", "hm", "hm hm")
    completions = [(completion(text), outcome) for text, outcome in zip(texts, [CORRECT, *Outcome], strict=True)]
    return row(3, completions, rewards=[2.0, 1.5, -1.0, -2.0, None], **changes)


def made(shape: str, one: dict[str, Any], **choices: Any) -> list[dict[str, Any]]:
    rows = SHAPES[shape].rows
    assert rows is not None
    return rows(one, Choices(**choices))


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_sft_imitates_the_completion_of_the_highest_reward_or_all_that_are_correct() -> None:
    (best,) = made("sft", group())
    assert best["messages"] == [*PROMPT, assistant("6")]
    assert (best["id"], best["reward"]) == ("sums/3", 2.0)
    correct = made("sft", group(), select="all-correct")
    assert [found["messages"][-1]["content"] for found in correct] == ["6", "3+3=6"]


@pytest.mark.parametrize("rewards", [[1.0, 1.0, 1.0], [None, 1.0, 2.0], [None, None, None], [2.0, 1.0, 2.0]])
def test_the_best_is_the_one_that_our_own_trainer_takes(rewards: list[float | None]) -> None:
    outcomes = (INCORRECT, CORRECT, CORRECT)
    one = row(1, [(completion(text), outcome) for text, outcome in zip("abc", outcomes, strict=True)], rewards=rewards)
    judged = JudgedGroup(tuple(one["advantages"]), outcomes, (1, 1, 1))
    expected = [one["completions"][i] for i in load_method("sft", LossConfig()).select(judged)]
    assert [found["messages"][-1]["content"] for found in made("sft", one)] == expected


def test_a_pair_is_the_best_right_one_and_the_worst_wrong_one_or_the_ends_of_the_rewards() -> None:
    (by_verdict,) = made("preference", group())
    assert by_verdict["prompt"] == PROMPT
    assert (by_verdict["chosen"], by_verdict["rejected"]) == ([assistant("6")], [assistant("hm")])
    assert (by_verdict["chosen_reward"], by_verdict["rejected_reward"]) == (2.0, -2.0)
    all_right = row(3, [(completion(text), CORRECT) for text in ("3+3=6", "6")], rewards=[1.5, 2.0])
    assert made("preference", all_right) == []
    (by_reward,) = made("preference", all_right, pairs="reward")
    assert (by_reward["chosen"], by_reward["rejected"]) == ([assistant("6")], [assistant("3+3=6")])
    equal = row(3, [(completion(text), CORRECT) for text in ("6", "7")], rewards=[1.0, 1.0])
    assert made("preference", equal, pairs="reward") == []


def test_kto_labels_every_completion_that_could_be_verified() -> None:
    found = made("kto", group())
    assert [(each["completion"][0]["content"], each["label"]) for each in found] == [
        ("6", True), ("3+3=6", True), ("33", False), ("hm", False),
    ]  # fmt: skip
    assert made("kto", row(1, [(completion("1"), UNVERIFIED)])) == []


def test_grpo_and_verl_carry_the_gold_answer_and_no_completion() -> None:
    (for_grpo,) = made("grpo", group())
    assert (for_grpo["prompt"], for_grpo["answer"], for_grpo["solution"]) == (PROMPT, "6", "\\boxed{6}")
    (for_verl,) = made("verl", group(verifier="number"))
    assert (for_verl["data_source"], for_verl["ability"]) == ("sums", "math")
    assert for_verl["reward_model"] == {"style": "rule", "ground_truth": "6"}
    assert for_verl["extra_info"]["question"] == "What is 3 + 3?"


def test_sharegpt_has_its_own_names_for_who_speaks() -> None:
    (found,) = made("sharegpt", group())
    assert found["conversations"] == [
        {"from": "system", "value": "Think."},
        {"from": "human", "value": "What is 3 + 3?"},
        {"from": "gpt", "value": "6"},
    ]


def test_samples_are_all_completions_with_what_was_said_of_each() -> None:
    found = made("samples", group())
    assert [each["sample"] for each in found] == [0, 1, 2, 3, 4]
    assert [each["outcome"] for each in found] == [CORRECT, CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED]
    assert [each["reward"] for each in found] == [2.0, 1.5, -1.0, -2.0, None]
    assert {each["num_correct"] for each in found} == {2}


@pytest.mark.parametrize("shape", ["sft", "sharegpt", "preference", "kto"])
def test_a_thought_that_the_prompt_had_opened_is_whole_again(shape: str) -> None:
    one = row(
        3,
        [(completion("right</think>6"), CORRECT), (completion("wrong</think>7"), INCORRECT)],
        prompt_opens_think=True,
        prompt_text="user: <think>?\nassistant: <think>\n",
    )
    text = json.dumps(made(shape, one))
    assert "<think>\\nright</think>6" in text
    assert text.count("<think>") == text.count("</think>")


def test_groups_are_the_datasets_own_rows_without_the_dropped_ones(tmp_path: Path) -> None:
    rows = [*sums(3), row(9, [(completion("18"), INCORRECT)], drop_reason="no_correct")]
    result = export_dataset(save_rows(tmp_path / "data", rows), "groups", tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / result.files[0])
    assert table.schema.names == shape_schema(SHAPES["groups"], ()).names
    written = [(row_to_group(each), row_to_scores(each)) for each in table.to_pylist()]
    assert written == list(load_groups(tmp_path / "data", kept_only=True))
    assert (result.counts.groups, result.counts.groups_not_kept, result.counts.rows) == (3, 1, 3)


def test_groups_without_a_row_are_counted_under_their_reason(tmp_path: Path) -> None:
    rows = [*sums(2), row(9, [(completion("18"), CORRECT)])]
    result = export_dataset(save_rows(tmp_path / "data", rows), "preference", tmp_path / "out")
    assert result.counts.skipped == {"no two completions to prefer one of": 1}
    described = json.loads((tmp_path / "out" / "export.json").read_text())
    assert described["rows"] == 2
    assert described["choices"] == {"pairs": "verdict"}


def test_files_are_cut_at_their_size_and_say_how_many_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BYTES_PER_FILE", 1)
    monkeypatch.setattr(tables, "BYTES_PER_ROW_GROUP", 1)
    data = save_rows(tmp_path / "data", sums(40))  # three batches of sixteen groups
    for kind in ("parquet", "jsonl"):
        result = export_dataset(data, "sft", tmp_path / kind, file_format=kind)
        assert result.files == tuple(f"data/train-0000{i}-of-00003.{kind}" for i in range(3))
    ids = [found for file in result.files for found in (tmp_path / "jsonl" / file).read_text().splitlines()]
    assert [json.loads(line)["id"] for line in ids] == [f"sums/{n}" for n in range(1, 41)]


def test_a_second_export_replaces_the_first_and_a_failed_one_leaves_it(tmp_path: Path) -> None:
    data, out = save_rows(tmp_path / "data", sums(2)), tmp_path / "out"
    export_dataset(data, "sharegpt", out)
    assert (out / "dataset_info.json").is_file()
    nothing = save_rows(tmp_path / "nothing", [row(1, [(completion("2"), CORRECT)], drop_reason="short")])
    with pytest.raises(DistillError, match="has nothing to say in the shape 'kto': 1 groups that were dropped"):
        export_dataset(nothing, "kto", out)
    assert (out / "dataset_info.json").is_file()
    export_dataset(data, "kto", out)
    assert sorted(path.name for path in out.iterdir()) == ["data", "export.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "nothing", "out"]


@pytest.mark.parametrize(
    ("to", "choices", "message", "hint"),
    [
        ("sfft", {}, "no shape of a dataset is called 'sfft'", "did you mean 'sft'?"),
        ("dpo", {}, "no shape of a dataset is called 'dpo'", "'preference' is what it wants"),
        ("kto", {"select": "best"}, "'select' makes no difference to the shape 'kto'", "it is for sft, sharegpt"),
        ("sft", {"select": "worst"}, "'select' cannot be 'worst'", "known: best, all-correct"),
        ("sft", {"file_format": "csv"}, "no format of files is called 'csv'", "known: parquet, jsonl"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    to: str, choices: dict[str, Any], message: str, hint: str, tmp_path: Path
) -> None:
    with pytest.raises(DistillError, match=message) as caught:
        export_dataset(save_rows(tmp_path / "data", sums(1)), to, tmp_path / "out", **choices)
    assert caught.value.hint == hint
    assert not (tmp_path / "out").exists()


def test_an_export_takes_no_folder_of_somebody_else(tmp_path: Path) -> None:
    data = save_rows(tmp_path / "data", sums(1))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    with pytest.raises(DistillError, match=r"holds 'chapter.tex', which no export wrote"):
        export_dataset(data, "sft", tmp_path / "thesis")
    with pytest.raises(DistillError, match="holds no dataset"):
        export_dataset(tmp_path / "thesis", "sft", tmp_path / "out")
    with pytest.raises(DistillError, match="does not exist"):
        export_dataset(tmp_path / "nowhere", "sft", tmp_path / "out")


def test_every_shape_has_a_title_and_columns_that_arrow_takes() -> None:
    for name, shape in SHAPES.items():
        assert find_shape(name).title == shape.title
        assert shape_schema(shape, ("cosine",)).names[: len(shape.columns)][:1] == list(shape.columns)[:1]


@pytest.mark.parametrize("shape", ["sft", "sharegpt"])
def test_llama_factory_is_told_all_names_of_a_conversation_or_takes_its_own(shape: str) -> None:
    described = SHAPES[shape].llama_factory
    assert described is not None
    (found,) = made(shape, group())
    turns = found[described["columns"]["messages"]]
    # its defaults; one 'tags' replaces them all
    names = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}
    names = described.get("tags", names | {"system_tag": "system"})
    assert [turn[names["role_tag"]] for turn in turns] == [
        names[f"{who}_tag"] for who in ("system", "user", "assistant")
    ]
    assert turns[-1][names["content_tag"]] == "6"
