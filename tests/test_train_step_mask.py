"""Masked steps: how many tokens and which, whatever shares a forward pass; and the laws of masking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.config import MaskConfig, TrainConfig
from distill.errors import DistillError
from distill.models import load_model
from distill.packing.head import token_statistics
from distill.packing.layout import GroupTokens, pack_rows
from distill.train.loop import train_student
from distill.train.losses.base import LossOutputs, weighted_cross_entropy
from distill.train.losses.sft import SFT
from distill.train.report import read_metrics
from distill.train.step_mask import step_mask
from distill.train.trainer import Trainer
from tests.tiny import save_tiny, tiny_tokenizer
from tests.train_fixtures import losses, make_trainer, save_rows, sums, tiny_config


class MasksSeen(SFT):
    """SFT on all verified completions that remembers every micro-batch's tokens and mask."""

    seen: list[tuple[list[int], list[bool], list[int]]] = []  # noqa: RUF012 - the test reads what all instances saw

    def loss(self, statistics: Any, batch: Any, coefficients: Any, kept: Any = None) -> LossOutputs:
        MasksSeen.seen.append((batch.targets.tolist(), kept.tolist(), batch.completion_index.tolist()))
        return super().loss(statistics, batch, coefficients, kept)


class OldLoss(SFT):
    """A user's method from before there were masks."""

    def loss(self, statistics: Any, batch: Any, coefficients: Any) -> LossOutputs:
        return LossOutputs(weighted_cross_entropy(statistics, batch, coefficients["cross_entropy"]), {})


def rows_with_own_entropies(folder: Path) -> list[dict[str, Any]]:
    """``sums(6)`` with an answer to every completion, and the entropies of the tiny model itself."""
    base = load_model(str(save_tiny(folder / "base")), device="cpu")
    rows = sums(6)
    for each in rows:
        batch = pack_rows([GroupTokens(each["prompt_ids"], each["completion_ids"])], pad_id=0)
        with torch.no_grad():
            entropies = token_statistics(base, batch).entropies
        each["token_entropies"] = [part.tolist() for part in entropies.split(batch.completion_lengths.tolist())]
        each["entropy_kind"] = "exact"
    return rows


def config_of(root: Path, **changes: Any) -> TrainConfig:
    if not (root / "sums").is_dir():
        save_rows(root / "sums", rows_with_own_entropies(root))
    return tiny_config(root, **changes)


def gradients(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in trainer.student.trained_parameters().items()}


def masked_step(config: TrainConfig, *, groups: Sequence[int] = range(6), double: bool = True) -> Any:
    trainer = make_trainer(config, double=double)
    metrics = trainer.gradients(trainer.step_data(groups))
    metrics.pop("entropy_counts")
    return metrics, gradients(trainer)


# ---- which tokens


def test_the_floor_of_k_percent_of_each_completion_is_masked_and_never_an_end_token(tmp_path):
    MasksSeen.seen.clear()
    config = config_of(tmp_path, method="tests.test_train_step_mask:MasksSeen", low_entropy_mask=30)
    masked_step(config)
    (targets, kept, owners), end = MasksSeen.seen[0], tiny_tokenizer().eos_token_id
    for completion in set(owners):
        ids = [token for token, owner in zip(targets, owners, strict=True) if owner == completion]
        flags = [flag for flag, owner in zip(kept, owners, strict=True) if owner == completion]
        before_end = len(ids) - (ids[-1] == end)
        assert flags.count(False) == 3 * before_end // 10
        assert flags[-1] or ids[-1] != end
    assert len(targets) == sum(len(each["completion_ids"][0]) for each in sums(6))  # no prompt, no padding


def test_a_teacher_that_is_the_student_masks_the_same_tokens(tmp_path):
    found = []
    for source in ("teacher", "student"):
        MasksSeen.seen.clear()
        mask = {"percent": 40, "entropy_source": source}
        config = config_of(tmp_path, method="tests.test_train_step_mask:MasksSeen", low_entropy_mask=mask)
        masked_step(config, double=False)
        found.append(MasksSeen.seen[0])
    assert found[0] == found[1]
    assert not all(found[0][1])


def test_one_ranking_over_the_step_masks_the_floor_of_all_its_tokens():
    options = MaskConfig(percent=50, rank="batch")
    # 5 of 6 tokens are maskable; the two lowest of them all stand in the second completion
    entropies = [np.array([3.0, 2.0, 0.0], np.float32), np.array([1.0, 0.5, 4.0], np.float32)]
    flags = [np.array([True, True, False]), np.array([True, True, True])]
    mask = step_mask(options, flags, entropies)
    assert [kept.tolist() for kept in mask.decided] == [[True, True, True], [False, False, True]]
    assert (mask.num_kept, mask.num_masked) == ((3, 1), 2)


def test_a_completion_of_which_nothing_is_left_adds_nothing(tmp_path):
    mask = {"percent": 100, "mask_end_token": True}
    for method in ("sft", "advdistill"):
        metrics, found = masked_step(
            config_of(tmp_path, method=method, low_entropy_mask=mask, loss={"contrastive_weight": 0.0})
        )
        assert metrics["cross_entropy"] == 0
        assert all(gradient.abs().max() == 0 for gradient in found.values())


def test_the_number_of_masked_tokens_is_in_the_metrics(tmp_path):
    config = config_of(tmp_path, method="sft", low_entropy_mask=50, epochs=1, groups_per_step=6)
    report = train_student(config, tmp_path / "out")
    (line,) = read_metrics(tmp_path / "out" / "metrics.jsonl")
    expected = sum((len(each["completion_ids"][0]) - 1) // 2 for each in sums(6))
    assert line["masked_tokens"] == report.epochs[0]["masked_tokens"] == expected


# ---- the laws


@pytest.mark.parametrize("method", ["sft", "advdistill"])
@pytest.mark.parametrize("source", ["teacher", "student"])
@pytest.mark.parametrize("rank", ["sequence", "batch"])
def test_the_token_budget_changes_neither_loss_nor_gradients(tmp_path, method, source, rank):
    mask = {"percent": 35, "entropy_source": source, "rank": rank}

    def step(budget: int) -> Any:
        config = config_of(tmp_path, method=method, low_entropy_mask=mask, tokens_per_micro_batch=budget)
        return masked_step(config, groups=range(5))

    expected, gradients_of_all = step(10**6)
    metrics, found = step(1)  # a pass for each completion
    assert metrics == pytest.approx(expected, rel=1e-6)
    for name, gradient in gradients_of_all.items():
        # the model's norms are computed in float32 whatever its type
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-6 * float(gradient.abs().max()))


@pytest.mark.parametrize("method", ["sft", "advdistill"])
@pytest.mark.parametrize("source", ["teacher", "student"])
def test_masking_nothing_is_plain_training_bit_for_bit(tmp_path, method, source):
    plain = train_student(config_of(tmp_path, method=method), tmp_path / "plain")
    mask = {"percent": 0, "entropy_source": source}
    masked = train_student(config_of(tmp_path, method=method, low_entropy_mask=mask), tmp_path / "masked")
    assert losses(tmp_path / "masked") == losses(tmp_path / "plain")
    assert masked.epochs[0]["masked_tokens"] == 0
    weights = [load_model(report.student, device="cpu").state_dict() for report in (plain, masked)]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


@pytest.mark.parametrize(("tokens", "is_plain"), [("all", True), ("kept", False)])
def test_masked_tokens_are_pushed_away_only_where_all_are(tmp_path, tokens, is_plain):
    options = {"method": "advdistill", "loss": {"contrastive_tokens": tokens}}
    plain, _ = masked_step(config_of(tmp_path, **options))
    masked, _ = masked_step(config_of(tmp_path, **options, low_entropy_mask=50))
    assert (masked["contrastive"] == plain["contrastive"]) == is_plain
    assert (masked["wrong_probability"] == plain["wrong_probability"]) == is_plain
    assert masked["cross_entropy"] != pytest.approx(plain["cross_entropy"], rel=1e-3)


@pytest.mark.parametrize("source", ["teacher", "student"])
def test_the_normaliser_is_what_is_kept_or_all(tmp_path, source):
    def loss(**mask: Any) -> float:
        return masked_step(config_of(tmp_path, low_entropy_mask=mask | {"entropy_source": source}, method="sft"))[0][
            "loss"
        ]

    kept, all_tokens = loss(percent=50, normaliser="kept"), loss(percent=50, normaliser="all")
    lengths = [len(each["completion_ids"][0]) for each in sums(6)]
    share = sum(length - (length - 1) // 2 for length in lengths) / sum(lengths)
    assert all_tokens == pytest.approx(kept * share, rel=1e-6)


def test_dropout_is_the_same_when_the_step_is_read_twice_for_a_ranking(tmp_path):
    save_tiny(tmp_path / "dropout", attention_dropout=0.3)
    mask = {"percent": 0, "entropy_source": "student"}
    options = {"method": "sft", "model": str(tmp_path / "dropout"), "tokens_per_micro_batch": 200}
    once, _ = masked_step(config_of(tmp_path, low_entropy_mask=mask, **options))
    twice, _ = masked_step(config_of(tmp_path, low_entropy_mask=mask | {"rank": "batch"}, **options))
    assert once == twice


def test_a_users_method_without_the_argument_trains_unmasked_and_is_refused_masked(tmp_path):
    method = "tests.test_train_step_mask:OldLoss"
    assert train_student(config_of(tmp_path, method=method, epochs=1), tmp_path / "out").steps == 3
    with pytest.raises(DistillError, match="OldLoss' cannot mask tokens: its loss has no argument 'kept'"):
        train_student(config_of(tmp_path, method=method, low_entropy_mask=20), tmp_path / "masked")
