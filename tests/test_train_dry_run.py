"""What a training run would do, said without a weight of the student."""

from __future__ import annotations

import json
import shutil
import sys
from itertools import accumulate
from pathlib import Path

import pytest

from distill.__main__ import main
from distill.config import TrainConfig
from distill.train.dry_run import CHARACTERS_PER_TOKEN, TrainingPlan, plan_training
from distill.train.loop import train_student
from distill.train.trainer import Trainer
from tests.tiny import save_tiny
from tests.train_fixtures import CORRECT, completion, make_trainer, row, save_rows, sums, tiny_config


def plan(config: TrainConfig) -> TrainingPlan:
    return plan_training(config, device_flops=1e9)


@pytest.mark.parametrize("packing", ["groups", "rows"])
def test_a_plan_is_what_the_run_then_does(tmp_path: Path, packing: str) -> None:
    config = tiny_config(tmp_path, tokens_per_micro_batch=200, packing=packing)
    planned = plan(config)
    trainer = make_trainer(config)
    passes = [
        (one.batch.input_ids.numel(), one.batch.targets.numel())
        for step in range(trainer.plan.steps_per_epoch)
        for one in trainer.passes.of_step(step, trainer.step_data(trainer.plan.groups_of(step)).groups)
    ]
    assert planned.passes.read_tokens == sum(read for read, _ in passes)
    assert planned.passes.largest_tokens == max(read for read, _ in passes)
    assert planned.passes.passes_per_step == len(passes) / 3
    report = train_student(config, tmp_path / "run")
    assert (planned.steps, planned.epochs, planned.data) == (report.steps, 2, report.data)
    assert planned.data.tokens == sum(learnt for _, learnt in passes) == report.tokens / 2
    assert planned.tokens_are == "the student's"


def allocated(trainer: Trainer) -> int:
    """The most bytes that a step had allocated, with weights and moments."""
    from torch.profiler import ProfilerActivity, profile

    trainer.take_step()  # the first one makes the moments
    state = [value for values in trainer.optimizer.state.values() for value in values.values()]
    held = sum(tensor.numel() * tensor.element_size() for tensor in (*trainer.student.model.parameters(), *state))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        trainer.take_step()
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return held + max(accumulate(event.nbytes() for event in events))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_real_step_allocates_what_was_planned(tmp_path: Path, checkpointing: bool) -> None:
    config = tiny_config(tmp_path, model=str(tmp_path / "wide"), gradient_checkpointing=checkpointing)
    save_tiny(
        tmp_path / "wide", hidden_size=128, intermediate_size=512, num_hidden_layers=4, max_position_embeddings=64
    )
    save_rows(tmp_path / "long", [row(n, [(completion("1 + 1 = 2. " * 20), CORRECT)] * 4) for n in range(1, 5)])
    config = config.model_copy(update={"dataset": str(tmp_path / "long"), "tokens_per_micro_batch": 4000})
    planned = plan(config)
    expected = planned.checkpointed_bytes if checkpointing else planned.total_bytes
    assert allocated(make_trainer(config)) == pytest.approx(expected, rel=0.1)


def test_the_sharing_ratio_is_tokens_of_rows_to_tokens_that_are_read(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, method="sft-all-correct")
    rows = sums(6)
    prompt = [len(each["prompt_ids"]) for each in rows]
    completions = [[len(ids) for ids in each["completion_ids"][:2]] for each in rows]  # the first two are correct
    apart = sum(p * len(n) + sum(n) for p, n in zip(prompt, completions, strict=True))
    shared = sum(p + sum(n) for p, n in zip(prompt, completions, strict=True))
    passes = plan(config).passes
    assert passes.packed
    assert (passes.read_tokens, passes.sharing_ratio) == (shared, apart / shared)
    in_rows = plan(config.model_copy(update={"packing": "rows"})).passes
    assert (in_rows.packed, in_rows.why_rows) == (False, "packing is 'rows'")
    assert in_rows.read_tokens >= apart  # padding is read too


def test_a_config_is_all_that_is_needed_of_a_student(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    (tmp_path / "bare").mkdir()
    shutil.copy(tmp_path / "base" / "config.json", tmp_path / "bare")
    bare, whole = plan(config.model_copy(update={"model": str(tmp_path / "bare")})), plan(config)
    assert (bare.tokens_are, whole.tokens_are) == ("the teacher's", "the student's")
    assert (bare.data, bare.passes, bare.student) == (whole.data, whole.passes, whole.student)
    assert (bare.memory, bare.device.flops) == (whole.memory, whole.device.flops)


def test_text_without_token_ids_is_taken_for_a_token_every_few_characters(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    (tmp_path / "bare").mkdir()
    shutil.copy(tmp_path / "base" / "config.json", tmp_path / "bare")
    text = "x" * (10 * CHARACTERS_PER_TOKEN - 1)
    recorded = row(1, [(completion(text), CORRECT)], completion_ids=[[]], prompt_ids=[])
    save_rows(tmp_path / "recorded", [recorded])
    changes = {"model": str(tmp_path / "bare"), "dataset": str(tmp_path / "recorded"), "method": "sft"}
    assert plan(config.model_copy(update=changes)).data.tokens == 10 + 1  # and the end token


def test_time_is_the_arithmetic_over_what_the_device_does(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    once, twice = plan(config), plan(config.model_copy(update={"epochs": 4}))
    assert twice.device.flops == 2 * once.device.flops
    assert once.device.seconds == once.device.flops / (1e9 * once.device.assumed_share)
    again = plan(config.model_copy(update={"gradient_checkpointing": True}))
    assert 1.1 < again.device.flops / once.device.flops < 1.34  # at most a third more; the output layer is read once


def test_groups_that_are_held_out_take_no_step(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, validation_share=0.5, groups_per_step=1)
    planned = plan(config)
    assert planned.validation_groups > 0
    assert planned.steps == 2 * (6 - planned.validation_groups)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["distill", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


def test_a_dry_run_prints_its_plan_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_config(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    told = ["train", tmp_path / "sums", "--model", tmp_path / "base", "--out", tmp_path / "run", "--dry-run"]
    run(monkeypatch, *told)
    shown = capsys.readouterr().out
    for word in ("weights", "groups", "sharing", "steps", "memory", "time", "nothing was trained"):
        assert word in shown
    run(monkeypatch, *told, "--json")
    values = json.loads(capsys.readouterr().out)
    assert (values["steps"], values["data"]["groups"]) == (4, 6)
    assert values["total_bytes"] > values["checkpointed_bytes"] > 0
    assert values["device"]["seconds"] > 0
    assert sorted(tmp_path.rglob("*")) == before
