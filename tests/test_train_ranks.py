"""Two processes train what one trains: the same losses and weights, whoever began and whoever goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.config import TrainConfig
from distill.models import load_model
from distill.train.loop import train_student
from distill.train.ranks import Ranks, join_ranks
from tests.train_fixtures import losses, tiny_config

REPOSITORY = Path(__file__).parents[1]
GUARDS = {"low_entropy_mask": {"percent": 30, "entropy_source": "student", "rank": "batch"}, "slow_tuning": 0.05}
# the budget holds about two of a step's groups, so that the processes have unlike shares, and now and then none
SMALL = {"tokens_per_micro_batch": 300, "groups_per_step": 3}
JOBS: dict[str, dict[str, Any]] = {
    "adapters with dropout": {"lora": {"rank": 4, "dropout": 0.3}},
    "replicated": {"parallel": "replicate"},
    "spread": {},
    "spread, tied weights in rows": {"packing": "rows", "gradient_checkpointing": True},
    "spread, output layer apart": {"model": "untied"},
    "spread with both guards": GUARDS,
    "one pass a step": {"tokens_per_micro_batch": 10**6},
}


def run_ranks(folder: Path, jobs: Sequence[dict[str, Any]]) -> None:
    """Train with two processes, one job after the other."""
    (folder / "jobs.json").write_text(json.dumps(list(jobs)), encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    here = ["--rdzv-endpoint", "localhost:0", "-m", "tests.rank_process", str(folder / "jobs.json")]
    done = subprocess.run(launch + here, check=False, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


def config_of(folder: Path, **changes: Any) -> TrainConfig:
    from tests.tiny import save_tiny

    if changes.get("model") == "untied":
        save_tiny(folder / "untied", tie_word_embeddings=False)
        changes["model"] = str(folder / "untied")
    return tiny_config(folder, **SMALL | changes)


def job(config: TrainConfig, out: Path, **more: Any) -> dict[str, Any]:
    return {"config": config.model_dump(mode="json"), "out": str(out), **more}


def same_students(one: Path, other: Path) -> None:
    first, second = (load_model(str(out / "student"), device="cpu").state_dict() for out in (one, other))
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every job trained by one process and by two."""
    folder = tmp_path_factory.mktemp("ranks")
    configs = {name: config_of(folder, **changes) for name, changes in JOBS.items()}
    run_ranks(folder, [job(config, folder / f"{name}, two") for name, config in configs.items()])
    for name, config in configs.items():
        train_student(config, folder / f"{name}, one")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", JOBS)
def test_two_processes_train_what_one_trains(name: str, both: Path) -> None:
    one, two = losses(both / f"{name}, one"), losses(both / f"{name}, two")
    assert len(one) == 4
    assert [step for step, _, _ in two] == [step for step, _, _ in one]
    assert [value for line in two for value in line] == pytest.approx([v for line in one for v in line], rel=1e-5)
    same_students(both / f"{name}, one", both / f"{name}, two")


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"lora": {"rank": 4, "dropout": 0.3}}, GUARDS], ids=["full", "lora", "guards"])
def test_a_run_goes_on_with_another_number_of_processes(changes: dict[str, Any], tmp_path: Path) -> None:
    config = config_of(tmp_path, **changes)
    train_student(config, tmp_path / "whole")

    def stop(epoch: int, _: object) -> None:
        if epoch == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train_student(config, tmp_path / "one, then two", on_epoch_end=stop)
    begun = job(config, tmp_path / "two, then one", stop_after=1)
    run_ranks(tmp_path, [job(config, tmp_path / "one, then two"), begun])
    assert (tmp_path / "two, then one" / "checkpoints" / "latest").is_file()
    train_student(config, tmp_path / "two, then one")
    for out in ("one, then two", "two, then one"):
        assert len(losses(tmp_path / out)) == 4
        same_students(tmp_path / "whole", tmp_path / out)


@given(st.lists(st.integers(1, 1000), max_size=30), st.integers(1, 9))
def test_work_is_shared_out_evenly(costs: list[int], size: int) -> None:
    shares = Ranks.shares(costs, size)
    assert sorted(piece for share in shares for piece in share) == list(range(len(costs)))
    loads = [sum(costs[piece] for piece in share) for share in shares]
    # the heaviest took its last piece when it was the lightest
    assert max(loads) - min(loads) <= max(costs, default=0)


def test_a_process_that_nothing_launched_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")  # as some clusters set for jobs of their own
    monkeypatch.delenv("RANK", raising=False)
    assert join_ranks() == Ranks(0, 1)
    assert join_ranks().gather("here") == ["here"]
