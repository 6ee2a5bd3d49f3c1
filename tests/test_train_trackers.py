"""What trackers are told of a run, and that the real ones take it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from distill.config import TrainConfig
from distill.errors import DistillError
from distill.train.loop import train_student
from distill.train.report import read_metrics
from tests.train_fixtures import tiny_config

OWN = "tests.test_train_trackers:Remembers"


class Remembers:
    """A tracker of one's own."""

    told: list[tuple[int, dict[str, float]]] = []  # noqa: RUF012 - the test reads what all instances heard
    closed = 0

    def __init__(self, out: Path, config: TrainConfig) -> None:
        assert out.is_dir()
        assert config.track == (OWN,)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self.told.append((step, dict(numbers)))

    def close(self) -> None:
        Remembers.closed += 1


def test_a_tracker_hears_every_step_and_every_epoch_and_is_closed(tmp_path: Path) -> None:
    Remembers.told.clear()
    before = Remembers.closed
    config = tiny_config(tmp_path, track=[OWN])
    train_student(config, tmp_path / "out", on_epoch_end=lambda epoch, _: {"accuracy": epoch / 10})
    lines = read_metrics(tmp_path / "out" / "metrics.jsonl")
    steps = [(step, numbers) for step, numbers in Remembers.told if "loss" in numbers]
    assert [(step, numbers["loss"]) for step, numbers in steps] == [(line["step"], line["loss"]) for line in lines]
    epochs = [(step, numbers["accuracy"]) for step, numbers in Remembers.told if "accuracy" in numbers]
    assert epochs == [(3, 0.1), (6, 0.2)]
    assert Remembers.closed == before + 1


def test_a_tracker_is_closed_when_the_run_fails(tmp_path: Path) -> None:
    before = Remembers.closed

    def fails(*_: Any) -> None:
        raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        train_student(tiny_config(tmp_path, track=[OWN]), tmp_path / "out", on_epoch_end=fails)
    assert Remembers.closed == before + 1


def test_an_unknown_tracker_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="no tracker is called 'tensorbord'") as caught:
        train_student(tiny_config(tmp_path, track=["tensorbord"]), tmp_path / "out")
    assert "tensorboard" in caught.value.hint


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_shows_the_losses(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_student(tiny_config(tmp_path, track=["tensorboard"]), tmp_path / "out")
    events = EventAccumulator(str(tmp_path / "out" / "tensorboard"))
    events.Reload()
    lines = read_metrics(tmp_path / "out" / "metrics.jsonl")
    found = [(event.step, event.value) for event in events.Scalars("loss")]
    assert found == [(line["step"], pytest.approx(line["loss"], rel=1e-6)) for line in lines]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_a_run_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train_student(tiny_config(tmp_path, track=["wandb"]), tmp_path / "out")
    assert list((tmp_path / "out" / "wandb").glob("offline-run-*/run-*.wandb"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trackio_keeps_a_run_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio")
    train_student(tiny_config(tmp_path, track=["trackio"]), tmp_path / "out")
    assert any((tmp_path / "trackio").rglob("*.db"))
    assert capsys.readouterr().out == ""
