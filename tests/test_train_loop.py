"""Whole runs of a two-layer student: mathematics, resuming, folders and what is left at the end."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from distill.errors import DistillError
from distill.models import load_model, load_tokenizer
from distill.registry import load
from distill.train.checkpoint import Progress
from distill.train.cost import training_flops, work_of
from distill.train.estimate import student_shape
from distill.train.loop import train_student
from distill.train.losses.base import LossOutputs
from distill.train.losses.sft import SFT
from distill.train.report import read_metrics, read_report
from distill.train.student import load_student
from distill.train.trainer import Trainer
from tests.packing_models import NOT_PACKABLE
from tests.tiny import save_tiny, tiny_tokenizer
from tests.train_fixtures import losses, make_trainer, tiny_config

LORA = {"rank": 4, "dropout": 0.3}


def gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in trainer.student.trained_parameters().items()}


class NaNAtStepTwo(SFT):
    """SFT whose second loss is not a number."""

    calls = 0

    def loss(self, statistics: Any, batch: Any, coefficients: Any) -> LossOutputs:
        outputs = super().loss(statistics, batch, coefficients)
        NaNAtStepTwo.calls += 1
        return LossOutputs(outputs.loss * (float("nan") if NaNAtStepTwo.calls == 2 else 1), outputs.metrics)


class AlwaysInfinite(SFT):
    """SFT whose loss is infinite."""

    def loss(self, statistics: Any, batch: Any, coefficients: Any) -> LossOutputs:
        outputs = super().loss(statistics, batch, coefficients)
        return LossOutputs(outputs.loss * float("inf"), outputs.metrics)


class OutOfRoomAtTheSecondPass(load("methods", "advdistill")):
    """AdvDistill on a machine whose memory is full after one large pass."""

    passes: list[int] = []  # noqa: RUF012 - the test reads what all instances saw

    def loss(self, statistics: Any, batch: Any, coefficients: Any) -> LossOutputs:
        self.passes.append(batch.input_ids.numel())
        if len(self.passes) == 2 and self.passes[1] > 150:
            raise torch.OutOfMemoryError("no room")
        return super().loss(statistics, batch, coefficients)


class NoRoom(SFT):
    """SFT on a machine without memory."""

    def loss(self, *_: Any) -> LossOutputs:
        raise torch.OutOfMemoryError("no room")


# ---- the mathematics of a step


@pytest.mark.parametrize("method", ["sft", "sft-all-correct", "advdistill"])
def test_neither_the_token_budget_nor_the_packing_changes_loss_or_gradients(tmp_path, method):
    def step(budget: int, packing: str) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
        config = tiny_config(tmp_path, method=method, tokens_per_micro_batch=budget, packing=packing)
        trainer = make_trainer(config, double=True)
        step = trainer.step_data(range(6))
        metrics = trainer.gradients(step)
        assert sum(metrics.pop("entropy_counts")) == step.num_tokens
        return metrics, gradients(trainer)

    whole = step(10**6, "rows")
    for budget, packing in ((1, "rows"), (150, "rows"), (400, "rows"), (1, "groups"), (150, "groups"), (900, "groups")):
        metrics, found = step(budget, packing)
        assert metrics == pytest.approx(whole[0], rel=1e-6)
        for name, gradient in whole[1].items():
            # the model's norms are computed in float32 whatever its type
            torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-6 * float(gradient.abs().max()))


def test_a_step_equals_plain_autograd_over_full_logits(tmp_path):
    config = tiny_config(tmp_path, method="sft-all-correct")
    trainer = make_trainer(config, double=True)
    groups = trainer.plan.groups_of(0)
    metrics = trainer.gradients(trainer.step_data(groups))
    model, total, entropy, tokens = make_trainer(config, double=True).student.model, 0.0, 0.0, 0
    for group in groups:
        prompt = trainer.data.tokens(group)[0].prompt_ids.tolist()
        for completion in trainer.data.tokens(group)[0].completion_ids:
            logits = model(input_ids=torch.tensor([[*prompt, *completion.tolist()]])).logits[0, len(prompt) - 1 : -1]
            total = total + torch.nn.functional.cross_entropy(
                logits, torch.tensor(completion.tolist()), reduction="sum"
            )
            entropy -= (logits.softmax(-1) * logits.log_softmax(-1)).sum().item()
            tokens += len(completion)
    assert metrics["entropy"] == pytest.approx(entropy / tokens)
    (total / tokens).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.max_grad_norm)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(
            gradients(trainer)[name], weight.grad, rtol=1e-6, atol=1e-8
        )  # coefficients are float32


@pytest.mark.parametrize("lora", [None, {"rank": 4, "dropout": 0.0}])
def test_gradient_checkpointing_changes_no_gradient(tmp_path, lora):
    def step(checkpointing: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        trainer = make_trainer(tiny_config(tmp_path, lora=lora, gradient_checkpointing=checkpointing))
        trainer.gradients(trainer.step_data(range(2)))
        return gradients(trainer)

    plain, checkpointed = step(False), step(True)
    assert any(gradient.abs().max() > 0 for gradient in plain.values())
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient)


def test_dropout_is_drawn_anew_at_every_step_and_for_every_seed(tmp_path):
    def grad_norm(seed: int, step: int) -> float:
        torch.manual_seed(0)  # the same adapters
        trainer = make_trainer(tiny_config(tmp_path, lora=LORA, seed=seed))
        trainer.progress = Progress(step=step)
        return trainer.gradients(trainer.step_data(range(2)))["grad_norm"]

    norms = [grad_norm(0, 0), grad_norm(0, 1), grad_norm(1, 0)]
    assert len(set(norms)) == 3
    assert grad_norm(0, 1) == norms[1]


def test_training_lowers_the_loss(tmp_path):
    report = train_student(
        tiny_config(tmp_path, method="sft", epochs=15, optimizer={"learning_rate": 1e-2}), tmp_path / "out"
    )
    assert report.epochs[-1]["loss"] < 0.5 * report.epochs[0]["loss"]


def test_memory_that_runs_out_in_the_middle_of_a_step_halves_the_budget_and_changes_nothing_else(tmp_path, caplog):
    OutOfRoomAtTheSecondPass.passes.clear()
    method = "tests.test_train_loop:OutOfRoomAtTheSecondPass"
    config = tiny_config(tmp_path, method=method, epochs=1, groups_per_step=6, tokens_per_micro_batch=300)
    small = train_student(config, tmp_path / "small")
    train_student(tiny_config(tmp_path, epochs=1, groups_per_step=6), tmp_path / "large")
    assert max(OutOfRoomAtTheSecondPass.passes[2:]) <= 150 < OutOfRoomAtTheSecondPass.passes[1]
    assert "out of memory: tokens_per_micro_batch is 150" in caplog.text
    assert small.skipped_steps == 0
    assert losses(tmp_path / "small")[0] == pytest.approx(losses(tmp_path / "large")[0], rel=1e-5)


def test_a_completion_that_exceeds_the_memory_alone_is_an_error(tmp_path):
    config = tiny_config(tmp_path, method="tests.test_train_loop:NoRoom")
    with pytest.raises(DistillError, match=r"a single completion of \d+ tokens with its prompt does not fit"):
        train_student(config, tmp_path / "out")


# ---- steps that are not finite


def test_a_step_that_is_not_finite_changes_no_weight_and_is_counted(tmp_path, caplog):
    NaNAtStepTwo.calls = 0
    trainer = make_trainer(tiny_config(tmp_path, method="tests.test_train_loop:NaNAtStepTwo"))
    lines, weights = [], []
    for _ in range(3):
        lines.append(trainer.take_step())
        weights.append({name: weight.detach().clone() for name, weight in trainer.student.trained_parameters().items()})
    assert [line.get("skipped", False) for line in lines] == [False, True, False]
    assert lines[1]["loss"] is None
    assert trainer.progress.skipped_steps == 1
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[1][name], weights[2][name]) for name in weights[0])
    assert "step 2 skipped: loss nan" in caplog.text


def test_too_many_steps_that_are_not_finite_end_the_run(tmp_path):
    config = tiny_config(tmp_path, method="tests.test_train_loop:AlwaysInfinite", max_skipped_steps=2)
    with pytest.raises(DistillError, match="2 steps had a loss or gradient that is not finite, the last one step 2"):
        train_student(config, tmp_path / "out")


def test_a_run_that_learnt_nothing_leaves_no_student(tmp_path):
    config = tiny_config(tmp_path, method="tests.test_train_loop:AlwaysInfinite", epochs=1)
    with pytest.raises(DistillError, match="none of 3 steps had a finite loss"):
        train_student(config, tmp_path / "out")
    assert not (tmp_path / "out" / "student").exists()


# ---- what is left at the end


def test_the_student_loads_with_plain_transformers(tmp_path):
    from transformers import AutoModelForCausalLM

    trained = []
    config = tiny_config(tmp_path)
    train_student(
        config,
        tmp_path / "out",
        on_epoch_end=lambda _, student: trained.append(
            {name: weight.clone() for name, weight in student.model.state_dict().items()}
        ),
    )
    student = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "student").state_dict()
    base = load_model(config.model, device="cpu").state_dict()
    assert all(torch.equal(weight, trained[-1][name]) for name, weight in student.items())
    assert not any(torch.equal(weight, base[name]) for name, weight in student.items() if weight.ndim == 2)
    assert load_tokenizer(str(tmp_path / "out" / "student")).chat_template


def test_adapters_load_onto_an_unchanged_base(tmp_path):
    config = tiny_config(tmp_path, lora=LORA, optimizer={"learning_rate": 1e-2})
    seen = []
    report = train_student(config, tmp_path / "out", on_epoch_end=lambda _, student: seen.append(student))
    assert report.is_adapter
    assert sorted(path.name for path in (tmp_path / "out" / "student").glob("adapter*")) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    ids = torch.arange(5, 25)[None]
    merged, base = (load_model(name, device="cpu") for name in (str(tmp_path / "out" / "student"), config.model))
    with torch.no_grad():
        found, before = merged(input_ids=ids).logits, base(input_ids=ids).logits
        expected = seen[-1].model.eval()(input_ids=ids).logits
        with seen[-1].model.disable_adapter():
            untouched = seen[-1].model(input_ids=ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(untouched, before)
    assert not torch.allclose(found, before)


def test_the_folder_of_a_finished_run_says_what_happened(tmp_path):
    out = tmp_path / "out"
    report = train_student(tiny_config(tmp_path), out)
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock", "config.yaml", "metrics.jsonl", "run.json", "student", "train.json",
    ]  # fmt: skip
    assert read_report(out / "train.json") == report
    beside_the_weights = json.loads((out / "student" / "distill_train.json").read_text())
    assert beside_the_weights["method"] == "advdistill"
    assert beside_the_weights["cpu_seconds"] > 0
    assert (report.steps, report.run_id, report.data.groups, report.data.completions) == (6, "run-1", 6, 21)
    assert report.tokens == 2 * report.data.tokens
    assert [line["epoch"] for line in report.epochs] == [1, 2]
    assert report.versions["torch"] == torch.__version__


def test_every_step_writes_a_line_of_metrics(tmp_path):
    train_student(tiny_config(tmp_path), tmp_path / "out")
    lines = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    for line in lines:
        assert line["loss"] == pytest.approx(line["cross_entropy"] + line["contrastive"], rel=1e-5)
        assert {"epoch", "wrong_probability", "entropy", "grad_norm", "learning_rate", "tokens"} <= line.keys()
        assert {"tokens_per_second", "peak_memory_bytes", "cpu_seconds"} <= line.keys()


def test_the_callback_sees_a_model_in_eval_mode_at_every_epochs_end(tmp_path):
    calls = []
    train_student(
        tiny_config(tmp_path),
        tmp_path / "out",
        on_epoch_end=lambda epoch, student: calls.append((epoch, student.model.training)),
    )
    assert calls == [(1, False), (2, False)]


def test_progress_tells_of_groups_read_and_steps_taken(tmp_path):
    told = []
    train_student(tiny_config(tmp_path), tmp_path / "out", progress=lambda *call: told.append(call))
    assert told == [("read", 0, None)] + [("read", 1, 6)] * 6 + [("train", 0, 6)] + [("train", 1, 6)] * 6


# ---- students that cannot be trained


def test_token_ids_beyond_the_models_vocabulary_are_refused(tmp_path):
    config = tiny_config(tmp_path, model=str(save_tiny(tmp_path / "small", vocab_size=200)))
    with pytest.raises(DistillError, match=r"gives token id 2\d\d, its model knows 200 ids"):
        train_student(config, tmp_path / "out")


def test_float16_is_refused(tmp_path):
    with pytest.raises(DistillError, match="float16 cannot be trained in"):
        train_student(tiny_config(tmp_path, dtype="float16"), tmp_path / "out")


def test_adapters_on_layers_that_do_not_exist_are_refused_with_the_names_that_do(tmp_path):
    config = tiny_config(tmp_path, lora={"target_modules": ["query_key_value"]})
    with pytest.raises(DistillError, match="'query_key_value' do not fit the model") as caught:
        train_student(config, tmp_path / "out")
    assert "k_proj" in caught.value.hint


def test_trained_weights_are_float32_whatever_the_compute_type(tmp_path):
    full = load_student(tiny_config(tmp_path, dtype="bfloat16"))
    adapted = load_student(tiny_config(tmp_path, dtype="bfloat16", lora=LORA))
    for student in (full, adapted):
        assert {weight.dtype for weight in student.trained_parameters().values()} == {torch.float32}
    frozen = {weight.dtype for weight in adapted.model.parameters() if not weight.requires_grad}
    assert frozen == {torch.bfloat16}


def test_training_under_autocast_saves_the_student_in_its_compute_type(tmp_path):
    report = train_student(tiny_config(tmp_path, dtype="bfloat16", epochs=1), tmp_path / "out")
    assert report.skipped_steps == 0
    config = json.loads((tmp_path / "out" / "student" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"


@pytest.mark.parametrize("lora", [None, {"rank": 2, "target_modules": ["query_key_value"]}])
def test_a_model_that_looks_at_distances_in_the_row_trains_in_rows_and_says_so(tmp_path, lora, caplog):
    bloom = NOT_PACKABLE["alibi"][0]()
    bloom.save_pretrained(tmp_path / "bloom")
    tiny_tokenizer().save_pretrained(tmp_path / "bloom")
    config = tiny_config(tmp_path, model=str(tmp_path / "bloom"), lora=lora, epochs=6)
    report = train_student(config, tmp_path / "out")
    assert "reads every completion with a prompt of its own: its attention is" in caplog.text
    assert report.epochs[-1]["loss"] < report.epochs[0]["loss"]


@pytest.mark.parametrize(("packing", "budget"), [("groups", 10**6), ("rows", 10**6), ("groups", 1)])
def test_a_line_says_how_much_was_read_and_how_much_of_it_was_shared(tmp_path, packing, budget):
    config = tiny_config(tmp_path, method="advdistill", packing=packing, tokens_per_micro_batch=budget)
    trainer = make_trainer(config)
    groups = [trainer.data.tokens(group)[0] for group in trainer.plan.groups_of(0)]
    once = sum(len(group.prompt_ids) + sum(map(len, group.completion_ids)) for group in groups)
    in_rows = once + sum(len(group.prompt_ids) * (len(group.completion_ids) - 1) for group in groups)
    line = trainer.take_step()
    read = line["tokens"] * line["tokens_read_per_second"] / line["tokens_per_second"]
    assert read == pytest.approx(once if (packing, budget) == ("groups", 10**6) else in_rows)
    assert line["sharing"] == pytest.approx(in_rows / read)


def test_checkpointing_comes_on_by_itself_where_activations_would_not_fit(tmp_path, monkeypatch, caplog):
    def is_checkpointed() -> bool:
        model = load_student(tiny_config(tmp_path, tokens_per_micro_batch=2_000)).model
        return any(getattr(part, "gradient_checkpointing", False) for part in model.modules())

    assert not is_checkpointed()
    monkeypatch.setattr("distill.train.estimate.device_memory", lambda _: 2**20)
    assert is_checkpointed()
    assert "gradient checkpointing is on: training would take" in caplog.text


def test_a_device_that_is_known_has_its_utilisation_in_every_line(tmp_path, monkeypatch):
    assert "mfu" not in make_trainer(tiny_config(tmp_path)).take_step()
    monkeypatch.setattr("distill.train.trainer._stated_flops", lambda _: 1e12)
    trainer = make_trainer(tiny_config(tmp_path))
    groups = [trainer.data.tokens(group)[0] for group in trainer.plan.groups_of(0)]
    flops = training_flops(student_shape(tiny_config(tmp_path)), work_of(groups, packed=True), checkpointing=False)
    line = trainer.take_step()
    assert line["mfu"] == pytest.approx(flops / 1e12 * line["tokens_per_second"] / line["tokens"])
