"""What is measured at the end of an epoch, and which student is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from distill.config.training import LoraConfig
from distill.errors import DistillError
from distill.models import load_model
from distill.train.epochs import EVALUATIONS_FILE
from distill.train.loop import train_student
from distill.train.report import METRICS_FILE, read_metrics, read_report
from tests.train_fixtures import losses, make_trainer, save_rows, sums, tiny_config

HOLD_OUT = {"validation_share": 0.4, "method": "sft-all-correct"}


class Stop(Exception):  # noqa: N818 - it is no error, it stands for a kill
    """Stands for a kill."""


def test_groups_that_are_held_out_are_not_trained_on_and_the_choice_is_theirs_alone(tmp_path: Path) -> None:
    trainer = make_trainer(tiny_config(tmp_path, **HOLD_OUT))
    held_out = {trainer.data.ids[number] for number in trainer.validation}
    assert 0 < len(held_out) < 6
    assert held_out.isdisjoint(trainer.plan.group_ids)
    assert held_out | set(trainer.plan.group_ids) == set(trainer.data.ids)
    # one group fewer changes no other group's side
    save_rows(tmp_path / "fewer", sums(6)[1:])
    fewer = make_trainer(tiny_config(tmp_path, dataset=str(tmp_path / "fewer"), **HOLD_OUT))
    assert {fewer.data.ids[number] for number in fewer.validation} == held_out - {"sums/1"}


def test_the_validation_loss_is_the_mean_over_the_held_out_groups(tmp_path: Path) -> None:
    trainer = make_trainer(tiny_config(tmp_path, **HOLD_OUT), double=True)
    trainer.student.model.eval()
    total, count = 0.0, 0
    for number in trainer.validation:
        (tokens,) = trainer.data.tokens(number)
        prompt = tokens.prompt_ids.tolist()
        for ids in tokens.completion_ids:
            with torch.no_grad():
                logits = trainer.student.model(input_ids=torch.tensor([[*prompt, *ids.tolist()]])).logits[0]
            predicted = logits[len(prompt) - 1 : -1].log_softmax(-1)
            total -= predicted[torch.arange(len(ids)), torch.from_numpy(ids).long()].sum().item()
            count += len(ids)
    assert trainer.validation_loss() == pytest.approx(total / count, rel=1e-6)


def test_every_epoch_has_its_numbers_in_the_report(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, **HOLD_OUT)
    report = train_student(config, tmp_path / "out", on_epoch_end=lambda epoch, _: {"accuracy": 0.1 * epoch})
    lines = read_metrics(tmp_path / "out" / EVALUATIONS_FILE)
    assert [(line["step"], line["epoch"], line["accuracy"]) for line in lines] == [(3, 1, 0.1), (6, 2, 0.2)]
    assert [epoch["accuracy"] for epoch in report.epochs] == [0.1, 0.2]
    assert report.epochs[1]["validation_loss"] < report.epochs[0]["validation_loss"]


def test_the_loss_on_held_out_groups_is_measured_between_epochs_and_changes_no_step(tmp_path: Path) -> None:
    options = {**HOLD_OUT, "lora": LoraConfig(rank=2, dropout=0.5)}
    train_student(tiny_config(tmp_path, **options, validate_every=2), tmp_path / "often")
    train_student(tiny_config(tmp_path, **options), tmp_path / "seldom")
    often = read_metrics(tmp_path / "often" / METRICS_FILE)
    assert [line["step"] for line in often if "validation_loss" in line] == [2, 4, 6]
    assert losses(tmp_path / "often") == losses(tmp_path / "seldom")
    at_the_end = read_metrics(tmp_path / "often" / EVALUATIONS_FILE)[-1]
    assert often[-1]["validation_loss"] == at_the_end["validation_loss"]


def test_to_measure_what_is_not_held_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="set validation_share"):
        tiny_config(tmp_path, validate_every=2)


@pytest.mark.parametrize(("accuracies", "best"), [([0.5, 0.9, 0.7], 2), ([0.5, 0.4, 0.5], 1), ([0.1, 0.2, 0.3], 3)])
def test_the_best_student_is_left_and_of_equals_the_first(tmp_path: Path, accuracies: list[float], best: int) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def measure(epoch: int, student: Any) -> dict[str, float]:
        seen.append({name: weight.clone() for name, weight in student.model.state_dict().items()})
        return {"accuracy": accuracies[epoch - 1]}

    train_student(tiny_config(tmp_path, epochs=3, keep="best"), tmp_path / "out", on_epoch_end=measure)
    kept = load_model(str(tmp_path / "out" / "student"), device="cpu").state_dict()
    for epoch, state in enumerate(seen, start=1):
        assert all(torch.equal(weight, state[name]) for name, weight in kept.items()) == (epoch == best)
    assert not (tmp_path / "out" / "best").exists()


def test_without_accuracy_the_lowest_loss_is_the_best(tmp_path: Path) -> None:
    # a learning rate that is far too high after the first epoch, which rises from 0
    config = tiny_config(
        tmp_path, **HOLD_OUT, keep="best", epochs=3, optimizer={"learning_rate": 1.0, "warmup_ratio": 0.9}
    )
    report = train_student(config, tmp_path / "out")
    found = [epoch["validation_loss"] for epoch in report.epochs]
    lowest = found.index(min(found)) + 1
    assert lowest < 3
    again = train_student(config.model_copy(update={"keep": "last"}), tmp_path / "again")
    kept, last = (load_model(each.student, device="cpu").state_dict() for each in (report, again))
    assert any(not torch.equal(weight, last[name]) for name, weight in kept.items())


def test_an_epoch_that_was_not_measured_is_measured_when_the_run_goes_on(tmp_path: Path) -> None:
    measured: list[int] = []

    def killed(epoch: int, _: Any) -> dict[str, float]:
        measured.append(epoch)
        if len(measured) == 1:
            raise Stop
        return {"accuracy": 0.5}

    config = tiny_config(tmp_path)
    with pytest.raises(Stop):
        train_student(config, tmp_path / "out", on_epoch_end=killed)
    report = train_student(config, tmp_path / "out", on_epoch_end=killed)
    assert measured == [1, 1, 2]
    assert len(losses(tmp_path / "out")) == 6
    assert [epoch["accuracy"] for epoch in report.epochs] == [0.5, 0.5]


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_a_share_that_leaves_one_side_empty_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(DistillError, match=rf"validation_share {share} holds out (0|6) of 6 groups"):
        make_trainer(tiny_config(tmp_path, validation_share=share))


def test_the_best_of_nothing_that_is_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="needs something to compare students by"):
        train_student(tiny_config(tmp_path, keep="best"), tmp_path / "out")


def test_a_run_that_crashed_early_says_so_in_its_report(tmp_path: Path) -> None:
    accuracies = [0.9, 0.5, 0.4, 0.4, 0.4, 0.4]
    config = tiny_config(tmp_path, epochs=6)
    report = train_student(config, tmp_path / "out", on_epoch_end=lambda epoch, _: {"accuracy": accuracies[epoch - 1]})
    (pattern,) = report.patterns
    assert (pattern["name"], pattern["measure"], pattern["option"]) == ("early crash", "accuracy", "slow_tuning")
    assert read_report(tmp_path / "out" / "train.json").patterns == report.patterns
