"""A run as pictures, while it goes on and afterwards."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DistillError
from distill.train.curves import read_curves
from distill.train.loop import train_student
from distill.train.plotting import plot_run
from tests.train_fixtures import tiny_config

EVERYTHING = {
    "low_entropy_mask": {"percent": 50, "entropy_source": "student"},
    "slow_tuning": 0.001,
    "validation_share": 0.5,
    "groups_per_step": 1,
}


def write_run(folder: Path, steps: Sequence[dict[str, Any]], **files: Sequence[dict[str, Any]]) -> Path:
    """A run's folder with these lines in metrics.jsonl and in others."""
    folder.mkdir()
    for name, lines in {"metrics": steps, **files}.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def step(number: int, epoch: int = 1, **values: Any) -> dict[str, Any]:
    return {"step": number, "epoch": epoch, "loss": 1 / number, "tokens": 10, **values}


def test_a_run_is_drawn_whole_and_in_parts_with_every_series_by_name(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = tmp_path / "run"
    train_student(tiny_config(tmp_path, **EVERYTHING), run, on_epoch_end=lambda epoch, _: {"accuracy": epoch / 4})
    report = plot_run(run)
    expected = {
        "loss": ["loss", "cross_entropy", "contrastive"],
        "validation_loss": ["validation_loss"],
        "accuracy": ["accuracy"],
        "grad_norm": ["grad_norm", "max_grad_norm = 0.5"],
        "learning_rate": ["learning_rate"],
        "entropy": ["entropy"],
        "entropy_histogram": ["epoch 1", "epoch 2"],
        "wrong_probability": ["wrong_probability"],
        "masked": ["masked share"],
        "speed": ["tokens_per_second"],
        "slow_tuning": ["largest", "median", "smallest", "tau = 0.001"],
        "clip_ratio": ["largest", "median", "smallest"],
    }
    assert report.panels == tuple(expected)
    whole = (run / "plots" / "training.svg").read_text(encoding="utf-8")
    for key, names in expected.items():
        alone = (run / "plots" / f"{key}.svg").read_text(encoding="utf-8")
        assert all(f">{name}<" in text for name in names for text in (whole, alone)), key
        assert (run / "plots" / f"{key}.png").read_bytes().startswith(b"\x89PNG")
    assert len(report.files) == 2 * (1 + len(expected)) == len(list((run / "plots").iterdir()))


def test_the_same_run_is_drawn_as_the_same_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = write_run(tmp_path / "run", [step(1), step(2)])
    files = [(tmp_path / name / "training.svg") for name in ("first", "second")]
    for file in files:
        plot_run(run, file.parent)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not (run / "plots").exists()


def test_a_run_under_way_is_read_as_far_as_its_lines_are_whole(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [step(1), step(2, epoch=2)])
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 3, "epo')
    curves = read_curves(run)
    assert [panel.key for panel in curves.panels] == ["loss"]
    assert (curves.panels[0].curves[0].x, curves.panels[0].curves[0].y) == ((1, 2), (1.0, 0.5))
    assert curves.epoch_ends == (1,)


def test_a_step_that_was_not_finite_has_no_point(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [step(1), step(2, loss=None, skipped=True), step(3)])
    assert read_curves(run).panels[0].curves[0].x == (1, 3)


def test_a_step_without_wrong_completions_says_nothing_of_their_probability(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [step(1, wrong_probability=0.8), step(2, wrong_probability=0.0)])
    panel = next(panel for panel in read_curves(run).panels if panel.key == "wrong_probability")
    assert panel.curves[0].y == (0.8,)


def test_matrices_are_summed_up_at_every_projection(tmp_path: Path) -> None:
    norms = {4: (3.0, 1.0, 2.0), 8: (6.0, 4.0, 5.0)}
    lines = [
        {"step": at, "epoch": 1, "name": str(i), "norm": norm, "ratio": 1 / norm}
        for at, matrices in norms.items()
        for i, norm in enumerate(matrices)
    ]
    panels = {
        panel.key: panel for panel in read_curves(write_run(tmp_path / "run", [step(1)], projections=lines)).panels
    }
    found = {curve.name: (curve.x, curve.y) for curve in panels["slow_tuning"].curves}
    assert found == {"largest": ((4, 8), (3, 6)), "median": ((4, 8), (2, 5)), "smallest": ((4, 8), (1, 4))}
    assert {curve.name: curve.y for curve in panels["clip_ratio"].curves}["largest"] == (1.0, 0.25)


def test_whatever_share_was_measured_after_an_epoch_is_drawn(tmp_path: Path) -> None:
    lines = [{"step": n, "epoch": n, "accuracy": 0.5, "safety_ratio": 0.75, "seconds": 12.0} for n in (1, 2)]
    panels = read_curves(write_run(tmp_path / "run", [step(1)], evaluations=lines)).panels
    assert [curve.name for curve in panels[1].curves] == ["accuracy", "safety_ratio"]


def test_a_folder_without_steps_is_told_apart_from_one_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="is no training run"):
        plot_run(tmp_path)
    with pytest.raises(DistillError, match="has no step to draw yet"):
        plot_run(write_run(tmp_path / "run", []))
    assert not (tmp_path / "run" / "plots").exists()


def test_without_matplotlib_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DistillError, match="plots need matplotlib, which is not installed") as raised:
        plot_run(write_run(tmp_path / "run", [step(1)]))
    assert raised.value.hint == "pip install 'distill-reasoning[plot]'"
