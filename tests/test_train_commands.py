"""``distill train`` as it is typed: epochs on benchmarks, several processes, and being asked to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distill.cli import app
from distill.train.report import read_metrics
from tests.chaos import wait
from tests.train_chaos import steps_done, training
from tests.train_fixtures import tiny_config

REPOSITORY = Path(__file__).parents[1]


def test_every_epochs_student_is_measured_and_the_numbers_stand_in_the_report(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    arguments = [
        "train", config.dataset, "--model", config.model, "--method", "sft", "--out", str(tmp_path / "out"), "--json",
        "--set", "epochs=2", "--set", "groups_per_step=3", "--evaluate", "arithmetic:validation",
    ]  # fmt: skip
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("eval: {limit: 2, sampling: {max_new_tokens: 4}}\n", encoding="utf-8")
    done = CliRunner().invoke(app, [*arguments, "--recipe", str(recipe)])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [epoch["accuracy"] for epoch in report["epochs"]] == [0.0, 0.0]  # random weights know no sums
    assert [line["step"] for line in read_metrics(tmp_path / "out" / "evaluations.jsonl")] == [2, 4]
    kept = tmp_path / "out" / "epochs" / "002"
    assert (kept / "arithmetic-validation" / "completions.jsonl").is_file()
    assert not (kept / "student.tmp").exists()


def test_a_benchmark_that_does_not_exist_ends_the_command_before_it_trains(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["train", config.dataset, "--model", config.model, "--out", str(out), "--evaluate", "arithmetik"]
    )
    assert done.exit_code == 1
    assert not out.exists()


@pytest.mark.slow
def test_two_processes_say_what_they_did_once(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    here = ["--rdzv-endpoint", "localhost:0", "-m", "distill", "train", config.dataset, "--model", config.model]
    done = subprocess.run(
        [*launch, *here, "--out", str(tmp_path / "out"), "--set", "device=cpu", "--set", "epochs=1", "--json"],
        cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["steps"] == 1


@pytest.mark.slow
def test_a_terminated_run_saves_its_step(tmp_path: Path) -> None:
    with training(tiny_config(tmp_path, epochs=400), tmp_path / "out") as process:
        wait(process, lambda: steps_done(tmp_path / "out") >= 5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 1
    taken = read_metrics(tmp_path / "out" / "metrics.jsonl")[-1]["step"]
    assert (tmp_path / "out" / "checkpoints" / "latest").read_text("utf-8") == f"step-{taken:06d}"
