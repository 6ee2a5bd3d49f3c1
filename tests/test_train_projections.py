"""Slow Tuning in whole runs: when weights go back, what is written, what is left, and that resuming changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from distill.errors import DistillError
from distill.models import load_model
from distill.train.loop import train_student
from distill.train.projections import Projector
from distill.train.report import read_metrics
from distill.train.slow_tuning import BASE_FILE
from tests.test_train_resume import Interruption, stop_after_epoch, stop_at_step, weights_hash
from tests.tiny import save_tiny
from tests.train_fixtures import losses, make_trainer, tiny_config

LORA = {"rank": 4, "dropout": 0.3}
FAST = {"optimizer": {"learning_rate": 3e-2}}
TAU = 0.2


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "projections.jsonl").read_text().splitlines()]


def change_of_weights(base: str, student: str) -> dict[str, float]:
    before, after = (dict(load_model(name, device="cpu").named_parameters()) for name in (base, student))
    with torch.no_grad():
        return {name: float((after[name] - before[name]).double().norm()) for name in before if before[name].ndim > 1}


def change_of_adapters(student: str, scale: float) -> dict[str, float]:
    weights = load_file(Path(student) / "adapter_model.safetensors")
    pairs = {name: (a, weights[name.replace("lora_A", "lora_B")]) for name, a in weights.items() if "lora_A" in name}
    return {name: float((scale * b @ a).double().norm()) for name, (a, b) in pairs.items()}


# ---- what a run's student is


def test_no_matrix_of_a_fully_trained_student_is_further_from_its_base_than_tau(tmp_path):
    free = train_student(tiny_config(tmp_path, **FAST), tmp_path / "free")
    config = tiny_config(tmp_path, slow_tuning=TAU, **FAST)
    report = train_student(config, tmp_path / "slow")
    changes = change_of_weights(config.model, report.student)
    assert max(change_of_weights(config.model, free.student).values()) > 2 * TAU
    assert max(changes.values()) == pytest.approx(TAU, rel=1e-4)
    assert all(norm <= TAU * 1.0001 for norm in changes.values())


def test_no_adapter_of_a_student_changes_its_layer_by_more_than_tau(tmp_path):
    free = train_student(tiny_config(tmp_path, lora=LORA, **FAST), tmp_path / "free")
    report = train_student(tiny_config(tmp_path, lora=LORA, slow_tuning=TAU, **FAST), tmp_path / "slow")
    scale = 32 / LORA["rank"]
    assert min(change_of_adapters(free.student, scale).values()) > TAU
    assert list(change_of_adapters(report.student, scale).values()) == pytest.approx([TAU] * 4, rel=1e-5)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_an_infinite_tau_changes_no_bit_and_measures_all_the_same(tmp_path, lora):
    free = train_student(tiny_config(tmp_path, lora=lora), tmp_path / "free")
    report = train_student(tiny_config(tmp_path, lora=lora, slow_tuning=float("inf")), tmp_path / "slow")
    assert weights_hash(Path(report.student)) == weights_hash(Path(free.student))
    assert losses(tmp_path / "slow") == losses(tmp_path / "free")
    assert {line["ratio"] for line in lines_of(tmp_path / "slow")} == {1.0}
    assert all(line["norm"] > 0 for line in lines_of(tmp_path / "slow"))


def test_a_global_tau_holds_all_matrices_together(tmp_path):
    config = tiny_config(tmp_path, slow_tuning={"tau": TAU, "scope": "global"}, **FAST)
    report = train_student(config, tmp_path / "out")
    norms = torch.tensor(list(change_of_weights(config.model, report.student).values()))
    assert float(norms.norm()) == pytest.approx(TAU, rel=1e-4)


# ---- when it happens, and what is written


def test_weights_go_back_before_the_callback_of_an_epoch_sees_them(tmp_path):
    config, seen = tiny_config(tmp_path, slow_tuning=TAU, **FAST), []
    base = load_model(config.model, device="cpu").state_dict()

    def on_epoch_end(epoch: int, student: Any) -> None:
        norms = [(w - base[n]).norm().item() for n, w in student.model.state_dict().items() if w.ndim > 1]
        seen.append((epoch, max(norms)))

    train_student(config, tmp_path / "out", on_epoch_end=on_epoch_end)
    assert seen == [(1, pytest.approx(TAU, rel=1e-4)), (2, pytest.approx(TAU, rel=1e-4))]


@pytest.mark.parametrize(("every", "steps"), [("epoch", [3, 6]), ("step", [1, 2, 3, 4, 5, 6])])
def test_every_projection_writes_a_line_for_every_matrix_and_a_summary(tmp_path, every, steps):
    config = tiny_config(tmp_path, lora=LORA, slow_tuning={"tau": TAU, "every": every}, **FAST)
    report = train_student(config, tmp_path / "out")
    lines, metrics = lines_of(tmp_path / "out"), read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [step for step in steps for _ in range(4)]
    assert len({line["name"] for line in lines}) == 4
    assert [line["step"] for line in metrics if "largest_change" in line] == steps
    for step in steps:
        own, summary = [line for line in lines if line["step"] == step], metrics[step - 1]
        assert {line["epoch"] for line in own} == {summary["epoch"]}
        assert summary["largest_change"] == max(line["norm"] for line in own)
        assert summary["smallest_ratio"] == min(line["ratio"] for line in own)
        assert summary["matrices_shrunk"] == sum(line["ratio"] < 1 for line in own)
    assert report.epochs[0]["largest_change"] > 0


def test_moments_are_kept_and_forgotten_only_on_request(tmp_path):
    def moments(**options: Any) -> tuple[int, int]:
        config = tiny_config(tmp_path, slow_tuning={"tau": TAU, **options}, **FAST)
        trainer = make_trainer(config)
        out = tmp_path / f"{options}"
        out.mkdir()
        projector = Projector(config.slow_tuning, trainer.student.model, trainer.optimizer, out)
        trainer.take_step()
        summary = projector.after_step(1, 1, ends_epoch=True)
        assert summary["matrices_shrunk"] > 0
        trainer.take_step()  # AdamW begins anew where it forgot
        steps = [int(state["step"]) for state in trainer.optimizer.state.values()]
        return steps.count(1), summary["matrices_shrunk"]

    assert moments()[0] == 0
    forgotten, shrunk = moments(reset_moments=True)
    assert forgotten == shrunk


# ---- resuming and folders


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("reset_moments", [False, True])
def test_one_epoch_and_a_resumed_one_are_two_bit_for_bit(tmp_path, lora, reset_moments):
    save_tiny(tmp_path / "dropout", attention_dropout=0.2)
    slow_tuning = {"tau": TAU, "reset_moments": reset_moments}
    options = {"lora": lora, "slow_tuning": slow_tuning, "model": str(tmp_path / "dropout")}
    config = tiny_config(tmp_path, **options, **FAST)
    whole = train_student(config, tmp_path / "whole")
    with pytest.raises(Interruption):
        train_student(config, tmp_path / "parts", on_epoch_end=stop_after_epoch(1))
    report = train_student(config, tmp_path / "parts", resume="always")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert lines_of(tmp_path / "parts") == lines_of(tmp_path / "whole")
    assert weights_hash(Path(report.student)) == weights_hash(Path(whole.student))


def test_a_crash_between_projection_and_checkpoint_projects_once(tmp_path):
    config = tiny_config(tmp_path, slow_tuning=TAU, save_every=2, **FAST)
    whole = train_student(config, tmp_path / "whole")
    with pytest.raises(Interruption):
        train_student(config, tmp_path / "parts", progress=stop_at_step(3))  # projected, written, not yet saved
    assert lines_of(tmp_path / "parts")
    report = train_student(config, tmp_path / "parts")
    assert lines_of(tmp_path / "parts") == lines_of(tmp_path / "whole")
    assert weights_hash(Path(report.student)) == weights_hash(Path(whole.student))


def test_the_copy_of_the_base_lasts_as_long_as_the_run(tmp_path):
    config, present = tiny_config(tmp_path, slow_tuning=TAU), []
    train_student(
        config, tmp_path / "out", on_epoch_end=lambda *_: present.append((tmp_path / "out" / BASE_FILE).is_file())
    )
    assert present == [True, True]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".lock", "config.yaml", "evaluations.jsonl", "metrics.jsonl", "projections.jsonl", "run.json", "student",
        "train.json",
    ]  # fmt: skip


def test_adapters_need_no_copy_of_the_base(tmp_path):
    config, present = tiny_config(tmp_path, lora=LORA, slow_tuning=TAU), []
    train_student(
        config, tmp_path / "out", on_epoch_end=lambda *_: present.append((tmp_path / "out" / BASE_FILE).is_file())
    )
    assert present == [False, False]


def test_a_base_of_a_run_that_took_no_step_is_not_taken_for_another_models(tmp_path):
    save_tiny(tmp_path / "other", seed=1)
    first = tiny_config(tmp_path, slow_tuning=TAU, model=str(tmp_path / "other"), **FAST)
    with pytest.raises(Interruption):
        train_student(first, tmp_path / "out", progress=stop_before_the_first_step)
    assert (tmp_path / "out" / BASE_FILE).is_file()
    config = tiny_config(tmp_path, slow_tuning=TAU, **FAST)
    report = train_student(config, tmp_path / "out")
    assert max(change_of_weights(config.model, report.student).values()) == pytest.approx(TAU, rel=1e-4)


def stop_before_the_first_step(stage: str, advance: int, total: int | None) -> None:
    if stage == "train":
        raise Interruption


def test_another_tau_is_another_run(tmp_path):
    train_student(tiny_config(tmp_path, slow_tuning=TAU, epochs=1), tmp_path / "out")
    with pytest.raises(DistillError, match=r"slow_tuning.tau was 0.2, is 0.3"):
        train_student(tiny_config(tmp_path, slow_tuning=0.3, epochs=1), tmp_path / "out")
