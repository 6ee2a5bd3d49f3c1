"""Small curated datasets, made as curation makes them: records through ``distill.schema`` into Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.advantages import group_advantages
from distill.config import PromptConfig, TrainConfig
from distill.models import tokenizer_fingerprint
from distill.prompts import build_prompt
from distill.records import Completion, FinishReason, Group, GroupScores, Outcome, Problem, Verdict
from distill.schema import SCHEMA_VERSION, dataset_columns, group_to_row, scores_to_row
from distill.train.encode import StudentEncoder
from distill.train.losses.own import load_method
from distill.train.reading import open_dataset, read_training_data
from distill.train.report import read_metrics
from distill.train.student import load_student
from distill.train.trainer import Trainer
from tests.tiny import save_tiny, tiny_tokenizer

CHAT = PromptConfig(format="chat", system="Think.", template="{question}")
REWARDS = {Outcome.CORRECT: 2.0, Outcome.INCORRECT: -1.0, Outcome.NO_ANSWER: -2.0, Outcome.UNVERIFIED: None}
CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED = Outcome


def completion(text: str, finish_reason: FinishReason = "stop", tokenizer: Any = None) -> Completion:
    """A completion in the tiny tokenizer's ids, with its end token when it stopped by itself."""
    tokenizer = tokenizer or tiny_tokenizer()
    end = [tokenizer.eos_token_id] if finish_reason == "stop" else []
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Completion(text, token_ids=(*ids, *end), finish_reason=finish_reason)


def row(
    number: int,
    completions: Sequence[tuple[Completion, Outcome]],
    *,
    rewards: Sequence[float | None] | None = None,
    drop_reason: str = "",
    prompt: PromptConfig = CHAT,
    **changes: Any,
) -> dict[str, Any]:
    """A dataset row of the problem with this number."""
    tokenizer = tiny_tokenizer()
    problem = Problem(f"sums/{number}", f"What is {number} + {number}?", str(2 * number), "sums", index=number)
    group = Group(
        problem,
        build_prompt(problem, prompt, tokenizer),
        tuple(c for c, _ in completions),
        teacher="tiny",
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
    )
    if rewards is None:
        rewards = [None if REWARDS[o] is None else REWARDS[o] - 0.01 * c.num_tokens for c, o in completions]
    verdicts = tuple(Verdict(outcome) for _, outcome in completions)
    scores = GroupScores(verdicts, tuple(rewards), group_advantages(rewards), drop_reason=drop_reason)
    whole = {
        "entropy_mean": None,
        "logprob_mismatch": None,
        "logprob_mismatch_max": None,
        "run_id": "run-1",
        "schema_version": SCHEMA_VERSION,
    }
    return {**group_to_row(group), **scores_to_row(problem, scores), **whole, **changes}


def sums(count: int) -> list[dict[str, Any]]:
    """Groups of four completions of unlike length: two correct, one wrong, one without an answer or unverified."""
    last = [NO_ANSWER, UNVERIFIED]
    return [
        row(
            n,
            [
                (completion(f"{n}+{n}={2 * n}"), CORRECT),
                (completion(f"It is {n}+{n}, that makes {2 * n}"), CORRECT),
                (completion(f"{n}{n}"), INCORRECT),
                (completion("hm, " * (1 + n % 4), "length"), last[n % 2]),
            ],
        )
        for n in range(1, count + 1)
    ]


def save_rows(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows as curation does."""
    from datasets import Dataset, Features
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar

    from distill.schema import arrow_schema

    disable_progress_bar()
    features = Features.from_arrow_schema(arrow_schema(dataset_columns(())))
    Dataset.from_list(list(rows), features=features).save_to_disk(str(folder))
    enable_progress_bar()
    return folder


def tiny_config(root: Path, **changes: Any) -> TrainConfig:
    """Two epochs of three steps of two groups on ``sums(6)``; dataset and student are made under ``root``."""
    if not (root / "sums").is_dir():
        save_rows(root / "sums", sums(6))
        save_tiny(root / "base")
    values = {
        "dataset": str(root / "sums"),
        "model": str(root / "base"),
        "epochs": 2,
        "groups_per_step": 2,
        "optimizer": {"learning_rate": 1e-3},
        "device": "cpu",
        **changes,
    }
    return TrainConfig.model_validate(values)


def make_trainer(config: TrainConfig, *, double: bool = False) -> Trainer:
    """What ``train_student`` puts together before its first step; ``double``: the student in float64."""
    student = load_student(config)
    if double:
        student.model.double()
    method = load_method(config.method, config.loss)
    encoder = StudentEncoder(student.tokenizer, config.prompt)
    data = read_training_data(open_dataset(Path(config.dataset)), config, encoder, method)
    return Trainer(config, data, student, method)


def losses(out: Path) -> list[tuple[int, float, float]]:
    return [(line["step"], line["loss"], line["grad_norm"]) for line in read_metrics(out / "metrics.jsonl")]
