"""The rewards of a recipe where TRL's trainers ask for a reward function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from types import TracebackType
from typing import Any

from distill.config import CurateConfig
from distill.curate.rewards import RewardResult, make_reward
from distill.errors import DistillError
from distill.records import Completion, Problem
from distill.verifiers import open_judge

Texts = Sequence[str | Sequence[Mapping[str, str]]]


class TrlReward:
    """A reward function for TRL's GRPOTrainer and RLOOTrainer: the verdict and the weighted parts of a recipe.

    The dataset is what ``distill export --to grpo`` writes: its columns ``answer`` and ``verifier`` (and ``options``)
    say what is right. A completion that cannot be verified has no reward, which TRL leaves out of its sums. The mean
    of every part is logged where the trainer lets it.
    """

    def __init__(self, config: CurateConfig, *, think_opened: bool | None = None) -> None:
        self.__name__ = "distill_reward"
        self._reward = make_reward(config.rewards)
        self._judge = open_judge(config.verifier)
        self._think_opened = think_opened

    def __call__(
        self,
        completions: Texts,
        completion_ids: Sequence[Sequence[int]] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """The rewards of completions, one of each per row of the columns."""
        if "answer" not in columns:
            raise DistillError(
                "the dataset has no column 'answer', so nothing can be verified",
                hint="'distill export DATASET --to grpo' writes one that has",
            )
        results = [
            self._result(_text(completion), completion_ids[i] if completion_ids else (), _row(columns, i))
            for i, completion in enumerate(completions)
        ]
        if log_metric is not None:
            for part in results[0].parts if results else ():
                values = [value for result in results if (value := result.parts[part]) is not None]
                if values:
                    log_metric(f"distill/{part}", fmean(values))
        return [result.total for result in results]

    def __enter__(self) -> TrlReward:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the verifier's workers; they also end with the process."""
        self._judge.close()

    def _result(self, text: str, token_ids: Sequence[int], row: Mapping[str, Any]) -> RewardResult:
        opened = self._think_opened
        completion = Completion(
            text,
            token_ids=tuple(token_ids),
            finish_reason="unknown",
            think_opened=bool(row.get("prompt_opens_think")) if opened is None else opened,
        )
        problem = Problem(
            str(row.get("id", "")),
            str(row.get("question", "")),
            str(row["answer"]),
            verifier=str(row.get("verifier") or "math"),
            options=tuple(row.get("options") or ()),
            metadata=str(row.get("metadata") or "{}"),
        )
        return self._reward(completion, self._judge.judge(problem, completion))


def as_trl_reward(config: CurateConfig | None = None, *, think_opened: bool | None = None) -> TrlReward:
    r"""What a recipe's verifier and rewards say of a completion, as TRL's trainers call reward functions.

    Args:
        config: whose sections ``verifier`` and ``rewards`` count; the default is 2 * cosine + 1 * format.
        think_opened: whether the chat template opens <think> for the completion; None takes the teacher's word.

    Raises:
        DistillError: a reward, an option of one or a verifier does not exist.

    >>> from distill.config import RewardsConfig
    >>> accuracy = CurateConfig(rewards=RewardsConfig.model_validate({"parts": {"accuracy": {}}}))
    >>> reward = as_trl_reward(accuracy)
    >>> reward(prompts=["1 + 1?", "2 + 2?"], completions=[r"\boxed{2}", r"\boxed{5}"], answer=["2", "4"])
    [1.0, 0.0]
    """
    return TrlReward(config or CurateConfig(), think_opened=think_opened)


def _text(completion: str | Sequence[Mapping[str, str]]) -> str:
    """A completion's text, of a message or as it is."""
    return completion if isinstance(completion, str) else "".join(turn["content"] or "" for turn in completion)


def _row(columns: Mapping[str, Any], i: int) -> dict[str, Any]:
    """The columns of one row; what is no column of the dataset stays out."""
    return {name: values[i] for name, values in columns.items() if isinstance(values, list | tuple)}
