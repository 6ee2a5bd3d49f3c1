"""Step-by-step, MT-CoT and CasCoD: what is read, what is learnt and how the two tasks are weighed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from distill.config import LossConfig, TrainConfig
from distill.errors import DistillError
from distill.records import Outcome
from distill.registry import load
from distill.train.loop import train_student
from distill.train.losses.base import JudgedGroup
from tests.tiny import save_tiny, tiny_tokenizer
from tests.train_fixtures import CORRECT, INCORRECT, completion, make_trainer, row, save_rows, tiny_config

METHODS = ["step-by-step", "mt-cot", "cascod"]
END = "<|im_end|>"
SENTENCE, TAGGED = "1+1 is 2. Therefore, the answer is 2.", "<think>2+2</think><answer>4</answer>"
ROWS = [
    row(1, [(completion(SENTENCE), CORRECT), (completion("Therefore, the answer is 3."), INCORRECT)]),
    row(2, [(completion("5"), INCORRECT), (completion(TAGGED), CORRECT)]),
    row(3, [(completion("so it is 6"), CORRECT)]),
]

# method, group -> what is read after the prompt, and what is learnt, of the rationale and of the answer
TASKS = [
    ("step-by-step", 0, ("\nRationale:", f"1+1 is 2. {END}"), ("\nAnswer:", f" 2.{END}")),
    ("step-by-step", 1, ("\nRationale:", f"<think>2+2</think>{END}"), ("\nAnswer:", f"<answer>4</answer>{END}")),
    (
        "mt-cot",
        0,
        ("\n[Explanation Generation]:", f"{SENTENCE}{END}"),
        ("\n[Answer Prediction]:", f" 2.{END}"),
    ),
    (
        "cascod",
        0,
        ("Rationale:", f"1+1 is 2. {END}"),
        ("Rationale:1+1 is 2.\nTherefore, the answer is", f" 2.{END}"),
    ),
    (
        "cascod",
        1,
        ("Rationale:", f"<think>2+2</think>{END}"),
        ("Rationale:<think>2+2</think>\nTherefore, the answer is", f"<answer>4</answer>{END}"),
    ),
]


def config_of(root: Path, rows: list[dict[str, Any]] | None = None, **changes: Any) -> TrainConfig:
    save_rows(root / "sums", rows or ROWS)
    save_tiny(root / "base")
    return tiny_config(root, **changes)


@pytest.mark.parametrize(("method", "group", "rationale", "answer"), TASKS)
def test_the_tasks_of_a_completion(tmp_path, method, group, rationale, answer):
    data = make_trainer(config_of(tmp_path, method=method)).data
    decode = tiny_tokenizer().decode
    prompt = decode(data.prompt_ids[data.prompt_starts[group] : data.prompt_starts[group + 1]])
    rows = data.tokens(group)
    assert [decode(each.prompt_ids).removeprefix(prompt) for each in rows] == [rationale[0], answer[0]]
    assert [decode(each.completion_ids[0]) for each in rows] == [rationale[1], answer[1]]
    assert data.judged(group).completion_lengths == tuple(len(each.completion_ids[0]) for each in rows)


@pytest.mark.parametrize("method", METHODS)
def test_a_completion_without_an_answer_is_left_out_and_counted(tmp_path, method):
    data = make_trainer(config_of(tmp_path, method=method)).data
    assert data.ids == ("sums/1", "sums/2")
    assert (data.counts.completions_without_answer, data.counts.groups_not_selected) == (1, 1)
    learnt = sum(len(each.completion_ids[0]) for group in (0, 1) for each in data.tokens(group))
    assert (data.counts.completions, data.counts.tokens) == (4, learnt)


def test_a_dataset_in_which_nothing_names_an_answer_is_refused_with_the_reason(tmp_path):
    with pytest.raises(DistillError, match="1 selected completions in which no final answer is marked"):
        make_trainer(config_of(tmp_path, ROWS[2:], method="cascod"))


def test_a_completion_that_was_cut_off_in_its_answer_has_no_end_token_there(tmp_path):
    cut = row(1, [(completion("1+1. Therefore, the answer is 2 beca", "length"), CORRECT)])
    rows = make_trainer(config_of(tmp_path, [cut], method="step-by-step")).data.tokens(0)
    texts = [tiny_tokenizer().decode(each.completion_ids[0]) for each in rows]
    assert texts == [f"1+1. {END}", " 2 beca"]


def test_a_completion_that_ends_with_the_words_before_its_answer_has_none(tmp_path):
    cut = row(1, [(completion("1+1. Therefore, the answer is", "length"), CORRECT)])
    data = make_trainer(config_of(tmp_path, [cut, ROWS[0]], method="cascod")).data
    assert data.counts.completions_without_answer == 1


@pytest.mark.parametrize(("overlong", "kept"), [("truncate", 1), ("drop", 0)])
def test_what_is_too_long_with_its_context_is_cut_or_left_out(tmp_path, overlong, kept):
    short = row(2, [(completion("Therefore, the answer is 4."), CORRECT)])
    # room for 'Rationale:1+1 is 2.\nTherefore, the answer is' and one token of the answer
    room = len(ROWS[0]["prompt_ids"]) + len("Rationale:1+1 is 2.\nTherefore, the answer is") + 1
    config = config_of(tmp_path, [ROWS[0], short], method="cascod", max_tokens=room, overlong=overlong)
    data = make_trainer(config).data
    assert ("sums/1" in data.ids) == bool(kept)
    assert (data.counts.completions_truncated, data.counts.completions_overlong) == (kept, 1 - kept)


def judged(*lengths: int) -> JudgedGroup:
    return JudgedGroup((1.0,) * len(lengths), (Outcome.CORRECT,) * len(lengths), lengths)


@pytest.mark.parametrize("method", METHODS)
def test_each_task_is_a_mean_of_its_own_and_the_answer_weighs_a_tenth(method):
    # rationales of 10 and 30 tokens, answers of 2 and 3
    groups = [judged(10, 2), judged(30, 3)]
    by_token = load("methods", method)(LossConfig()).coefficients(groups)["cross_entropy"]
    assert by_token.tolist() == pytest.approx([0.9 / 40, 0.1 / 5, 0.9 / 40, 0.1 / 5])
    by_completion = load("methods", method)(LossConfig(normalise="completion", answer_weight=0.5))
    expected = [0.5 / 20, 0.5 / 4, 0.5 / 60, 0.5 / 6]
    assert by_completion.coefficients(groups)["cross_entropy"].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_equals_cross_entropies_of_two_prompts(tmp_path, method):
    config = config_of(tmp_path, method=method, loss={"answer_weight": 0.3}, tokens_per_micro_batch=1)
    trainer = make_trainer(config, double=True)
    metrics = trainer.gradients(trainer.step_data([0, 1]))
    sums, counts = [0.0, 0.0], [0, 0]
    for group in (0, 1):
        for task, each in enumerate(trainer.data.tokens(group)):
            prompt, target = list(each.prompt_ids), list(each.completion_ids[0])
            with torch.no_grad():
                logits = trainer.student.model(input_ids=torch.tensor([[*prompt, *target]])).logits[0]
            predicted = logits[len(prompt) - 1 : -1].log_softmax(-1)
            sums[task] -= predicted[torch.arange(len(target)), torch.tensor(target)].sum().item()
            counts[task] += len(target)
    assert metrics["loss"] == pytest.approx(0.7 * sums[0] / counts[0] + 0.3 * sums[1] / counts[1], rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_of_two_tasks_with_both_guards(tmp_path, method):
    mask = {"percent": 20, "entropy_source": "student"}
    config = config_of(tmp_path, method=method, low_entropy_mask=mask, slow_tuning=1.0)
    report = train_student(config, tmp_path / "out")
    assert report.skipped_steps == 0
    assert report.epochs[-1]["masked_tokens"] > 0
