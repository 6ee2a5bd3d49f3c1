"""From a dataset's folder to the groups of token ids that are trained on."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken

from distill.advantages import group_advantages
from distill.config import PromptConfig, TrainConfig
from distill.errors import DistillError
from distill.records import Completion, Outcome
from distill.registry import load
from distill.train.data import TrainData
from distill.train.encode import StudentEncoder
from distill.train.reading import open_dataset, read_training_data
from tests.tiny import CHAT_TEMPLATE, tiny_tokenizer
from tests.train_fixtures import CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED, completion, row, save_rows, sums

END = tiny_tokenizer().eos_token_id
GOOD, BAD = (completion("4"), CORRECT), (completion("5"), INCORRECT)


@cache
def other_tokenizer() -> Any:
    """The tiny tokenizer with one more token: another fingerprint, and 'makes' is one id."""
    import copy

    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.add_tokens([AddedToken("makes", normalized=False)])
    return tokenizer


def read(folder: Path, rows: list[dict[str, Any]], *, tokenizer: Any = None, **options: Any) -> TrainData:
    config = TrainConfig.model_validate({"dataset": str(save_rows(folder / "data", rows)), **options})
    encoder = StudentEncoder(tokenizer or tiny_tokenizer(), config.prompt)
    method = load("methods", config.method)(config.loss)
    return read_training_data(open_dataset(Path(config.dataset)), config, encoder, method)


def ids(data: TrainData, group: int = 0) -> list[list[int]]:
    return [completion_ids.tolist() for completion_ids in data.tokens(group)[0].completion_ids]


def test_ids_of_the_same_tokenizer_are_taken_as_they_are(tmp_path):
    rows = sums(3)
    data = read(tmp_path, rows)
    assert data.ids == ("sums/1", "sums/2", "sums/3")
    for group, source in enumerate(rows):
        verified = [i for i, outcome in enumerate(source["outcomes"]) if outcome != "unverified"]
        assert list(data.tokens(group)[0].prompt_ids) == source["prompt_ids"]
        assert ids(data, group) == [source["completion_ids"][i] for i in verified]
        judged = data.judged(group)
        assert judged.outcomes == tuple(Outcome(source["outcomes"][i]) for i in verified)
        assert judged.advantages == pytest.approx([source["advantages"][i] for i in verified])
        assert judged.completion_lengths == tuple(len(source["completion_ids"][i]) for i in verified)
    assert data.counts.groups_encoded_again == 0


def test_a_group_knows_what_its_completions_share_with_a_correct_one(tmp_path):
    right, near = completion("that makes 4"), completion("that makes 5")
    shared = len(near.token_ids) - 2  # all but the number and the end token
    data = read(tmp_path, [row(2, [(right, CORRECT), (near, INCORRECT), (completion("9"), INCORRECT)])])
    assert data.judged(0).shared_lengths == (0, shared, 0)


def test_ids_are_stored_flat_in_four_bytes(tmp_path):
    data = read(tmp_path, sums(3))
    assert data.completion_ids.dtype == data.prompt_ids.dtype == np.int32
    assert data.tokens(1)[0].completion_ids[0].base is not None


def test_another_tokenizer_gets_prompt_and_text_in_its_own_tokens(tmp_path):
    student = other_tokenizer()
    data = read(
        tmp_path,
        [row(2, [(completion("that makes 4"), CORRECT), (completion("that makes", "length"), INCORRECT)])],
        tokenizer=student,
    )
    makes = student.convert_tokens_to_ids("makes")
    plain = student("that ", add_special_tokens=False)["input_ids"]
    assert ids(data) == [[*plain, makes, *student(" 4", add_special_tokens=False)["input_ids"], END], [*plain, makes]]
    assert student.decode(data.tokens(0)[0].prompt_ids).startswith("<|im_start|>system\nThink.<|im_end|>")
    assert data.counts.groups_encoded_again == 1


ENDS = [("stop", True), ("unknown", True), ("length", False)]


@pytest.mark.parametrize(("finish_reason", "ends"), ENDS)
@pytest.mark.parametrize("tokenizer", [tiny_tokenizer, other_tokenizer])
def test_every_completion_ends_with_an_end_token_unless_it_was_cut_off(tmp_path, tokenizer, finish_reason, ends):
    data = read(tmp_path, [row(1, [(completion("2", finish_reason), CORRECT), BAD])], tokenizer=tokenizer())
    assert ids(data)[0].count(END) == int(ends)
    assert (ids(data)[0][-1] == END) == ends


def test_an_unknown_end_that_has_its_end_token_gets_no_second_one(tmp_path):
    recorded = replace(completion("2"), finish_reason="unknown")
    assert recorded.token_ids[-1] == END
    assert ids(read(tmp_path, [row(1, [(recorded, CORRECT), BAD])]))[0] == list(recorded.token_ids)


def test_a_completion_that_a_stop_text_ended_gets_an_end_token(tmp_path):
    stopped = Completion("2", token_ids=completion("2", "length").token_ids, finish_reason="stop")
    assert ids(read(tmp_path, [row(1, [(stopped, CORRECT), BAD])]))[0] == [*stopped.token_ids, END]


def test_another_of_the_teachers_end_tokens_is_an_end_token_too(tmp_path):
    other_end = tiny_tokenizer().convert_tokens_to_ids("<|im_start|>")
    ended = Completion("2", token_ids=(*completion("2", "length").token_ids, other_end), finish_reason="stop")
    assert ids(read(tmp_path, [row(1, [(ended, CORRECT), BAD])]))[0] == list(ended.token_ids)


def test_recorded_completions_without_ids_are_tokenised(tmp_path):
    recorded = Completion("2", num_tokens=1, finish_reason="unknown")
    data = read(tmp_path, [row(1, [(recorded, CORRECT), (Completion("3", num_tokens=1), INCORRECT)])])
    assert ids(data)[0] == [*tiny_tokenizer()("2")["input_ids"], END]


def test_a_student_with_another_chat_template_reads_its_own_prompt_but_the_same_completions(tmp_path):
    import copy

    student = copy.deepcopy(tiny_tokenizer())
    student.chat_template = CHAT_TEMPLATE.replace("assistant", "helper")
    rows = sums(1)
    data = read(tmp_path, rows, tokenizer=student)
    assert student.decode(data.tokens(0)[0].prompt_ids).endswith("<|im_start|>helper\n")
    assert ids(data)[0] == rows[0]["completion_ids"][0]
    assert data.counts.groups_encoded_again == 1


def test_a_think_opened_by_the_teachers_template_is_the_students_own_where_its_template_opens_none(tmp_path):
    opened = row(1, [(completion("1+1</think>2"), CORRECT), BAD], prompt_opens_think=True, prompt_text="other")
    text = tiny_tokenizer().decode(ids(read(tmp_path, [opened]))[0])
    assert text == "<think>\n1+1</think>2<|im_end|>"


def test_the_recipe_may_ask_for_another_prompt(tmp_path):
    data = read(tmp_path, sums(1), prompt={"format": "plain", "system": "", "template": "Q: {question}\nA:"})
    assert tiny_tokenizer().decode(data.tokens(0)[0].prompt_ids) == "Q: What is 1 + 1?\nA:"


def test_another_format_without_a_template_takes_the_one_that_evaluation_takes(tmp_path):
    data = read(tmp_path, sums(1), prompt={"format": "plain"})
    assert tiny_tokenizer().decode(data.tokens(0)[0].prompt_ids) == "Think.\n\nQuestion: What is 1 + 1?\nAnswer:"


def test_a_prompt_of_several_turns_cannot_be_rendered_again(tmp_path):
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant", "user")]
    with pytest.raises(DistillError, match="'sums/1' has a prompt of roles 'user, assistant, user'"):
        read(tmp_path, [row(1, [GOOD, BAD], prompt_format="plain") | {"prompt": turns}])


def test_a_student_without_an_end_token_is_refused():
    import copy

    student = copy.deepcopy(tiny_tokenizer())
    student.eos_token = None
    with pytest.raises(DistillError, match="has no end token"):
        StudentEncoder(student, PromptConfig())


def test_groups_that_were_not_kept_are_counted_and_left_out(tmp_path):
    data = read(tmp_path, [*sums(2), row(7, [BAD, BAD], drop_reason="no_correct")])
    assert (data.counts.groups_in_dataset, data.counts.groups_not_kept, len(data)) == (3, 1, 2)


def test_a_long_completion_is_truncated_without_an_end_token_and_counted(tmp_path):
    long, prompt_tokens = completion("4" * 30), len(row(1, [GOOD])["prompt_ids"])
    data = read(tmp_path, [row(1, [(long, CORRECT), BAD])], max_tokens=prompt_tokens + 10)
    assert ids(data)[0] == list(long.token_ids[:10])
    assert data.judged(0).completion_lengths[0] == 10
    assert (data.counts.completions_truncated, data.counts.completions_overlong) == (1, 0)


@pytest.mark.parametrize("overlong", ["truncate", "drop"])
def test_a_completion_that_just_fits_is_whole(tmp_path, overlong):
    long, prompt_tokens = completion("4" * 30), len(row(1, [GOOD])["prompt_ids"])
    data = read(tmp_path, [row(1, [(long, CORRECT), BAD])], max_tokens=prompt_tokens + 31, overlong=overlong)
    assert ids(data)[0] == list(long.token_ids)
    assert data.counts.completions_truncated == 0


def test_a_long_completion_is_dropped_before_the_method_chooses(tmp_path):
    best = (completion("4" * 30), CORRECT)
    prompt_tokens = len(row(1, [GOOD])["prompt_ids"])
    options = {"max_tokens": prompt_tokens + 10, "overlong": "drop", "method": "sft"}
    data = read(tmp_path, [row(1, [best, GOOD, BAD], rewards=[2.0, 1.0, -1.0])], **options)
    assert ids(data) == [list(GOOD[0].token_ids)]
    assert (data.counts.completions_truncated, data.counts.completions_overlong) == (0, 1)


@pytest.mark.parametrize("method", ["sft", "advdistill"])
def test_a_group_whose_correct_completions_were_all_too_long_is_left_out(tmp_path, method):
    long, never_right = (completion("4" * 30), CORRECT), row(2, [BAD, BAD])
    options = {"max_tokens": len(never_right["prompt_ids"]) + 10, "overlong": "drop", "method": method}
    data = read(tmp_path, [row(1, [long, BAD]), never_right], **options)
    # the second never had a right one, and curation kept it all the same
    assert (data.ids, data.counts.groups_without_correct) == (("sums/2",), 1)


def test_a_prompt_that_leaves_no_room_is_an_error_that_names_the_group(tmp_path):
    with pytest.raises(DistillError, match="group 'sums/1' has a prompt of 49 tokens, which leaves nothing"):
        read(tmp_path, sums(1), max_tokens=20)
    with pytest.raises(DistillError, match="no group to train on"):
        read(tmp_path / "drop", sums(1), max_tokens=20, overlong="drop")


def test_a_completion_without_a_token_is_an_error(tmp_path):
    with pytest.raises(DistillError, match="completion 1 of group 'sums/1' has no token"):
        read(tmp_path, [row(1, [GOOD, (Completion("", num_tokens=0, finish_reason="length"), NO_ANSWER)])])


def test_the_first_completions_get_advantages_of_their_own(tmp_path):
    rewards = [2.0, -1.0, -3.0, 1.0]
    source = row(1, [GOOD, BAD, BAD, GOOD], rewards=rewards)
    data = read(tmp_path, [source], completions_per_group=3)
    assert data.judged(0).advantages == pytest.approx(group_advantages(rewards[:3]))
    assert len(data.judged(0)) == 3


def test_the_first_completions_use_the_eps_and_ddof_of_the_recipe(tmp_path):
    data = read(tmp_path, [row(1, [GOOD, BAD, BAD])], completions_per_group=2, advantages={"eps": 0.5, "ddof": 0})
    assert data.judged(0).advantages == pytest.approx(group_advantages([1.98, -1.02], eps=0.5, ddof=0))


def test_a_group_whose_first_completions_lost_every_correct_one_is_left_out(tmp_path):
    data = read(tmp_path, [row(1, [GOOD, BAD, BAD]), row(2, [BAD, BAD, GOOD])], completions_per_group=2)
    assert data.ids == ("sums/1",)
    assert data.counts.groups_without_correct == 1


def test_more_completions_than_there_are_is_all_of_them(tmp_path):
    source = row(1, [GOOD, BAD])
    data = read(tmp_path, [source], completions_per_group=8)
    assert data.judged(0).advantages == pytest.approx(source["advantages"])


def test_groups_that_the_method_finds_nothing_in_are_counted(tmp_path):
    unverified = row(2, [(completion("4"), UNVERIFIED)] * 2)
    data = read(tmp_path, [row(1, [GOOD, BAD]), unverified], method="sft-all-correct")
    assert (data.ids, data.counts.groups_not_selected) == (("sums/1",), 1)


def test_nothing_to_train_on_is_an_error(tmp_path):
    with pytest.raises(DistillError, match="no group to train on with method 'sft': 1 groups, 1 of them not kept"):
        read(tmp_path, [row(1, [BAD], drop_reason="no_correct")], method="sft")


def test_the_digest_follows_advantages_and_completions_but_not_prompts(tmp_path):
    same = read(tmp_path / "a", [row(1, [GOOD, BAD])]).digest()
    assert read(tmp_path / "b", [row(1, [GOOD, BAD])], prompt={"format": "plain"}).digest() == same
    assert read(tmp_path / "c", [row(1, [GOOD, BAD], rewards=[1.0, 0.9])]).digest() != same
    assert read(tmp_path / "d", [row(1, [GOOD, (completion("6"), INCORRECT)])]).digest() != same


def test_a_run_folder_with_a_dataset_inside_is_a_dataset(tmp_path):
    save_rows(tmp_path / "run" / "dataset", sums(1))
    assert len(open_dataset(tmp_path / "run")) == 1


def file(path: Path) -> None:
    path.write_text("{}")


def folder_with(name: str) -> Any:
    def make(path: Path) -> None:
        path.mkdir()
        (path / name).write_text("{}")

    return make


def foreign_dataset(path: Path) -> None:
    from datasets import Dataset

    Dataset.from_dict({"text": ["a"]}).save_to_disk(str(path))


def newer_dataset(path: Path) -> None:
    save_rows(path, [row(1, [GOOD], schema_version=99)])


NO_DATASETS = [
    (lambda _: None, "does not exist"),
    (file, "is a file, a curated dataset is a folder"),
    (folder_with("config.json"), "is a model"),
    (folder_with("run.json"), "is a run without a dataset"),
    (folder_with("dataset_dict.json"), "holds several splits"),
    (folder_with("notes.txt"), "it holds notes.txt"),
    (foreign_dataset, "has no column 'id'; it is not a curated dataset"),
    (newer_dataset, "has schema version 99"),
]


@pytest.mark.parametrize(("make", "message"), NO_DATASETS, ids=[message for _, message in NO_DATASETS])
def test_what_is_no_curated_dataset_is_called_by_its_name(tmp_path, make, message):
    make(tmp_path / "place")
    with pytest.raises(DistillError, match=message):
        open_dataset(tmp_path / "place")
