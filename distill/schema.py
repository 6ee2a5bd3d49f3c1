"""The dataset on disk: the only place that names a column.

One row is one group. A run writes three kinds of parts, joined by ``index``: completions (what was
sampled), scores (what the verifier, rewards and advantages say) and entropies (a later pass with
local weights). The dataset is their join, in source order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError
from distill.records import Completion, Group, GroupScores, Message, Outcome, Problem, Prompt, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 2

# Column -> Arrow type as text; "[]" is a list. The type of a column never depends on the first rows.
PROBLEM_COLUMNS: dict[str, str] = {
    "id": "string",
    "index": "int64",
    "source": "string",
    "verifier": "string",
    "question": "string",
    "answer": "string",
    "options": "string[]",
    "solution": "string",
    "metadata": "string",
    "reject_reason": "string",
    "reject_detail": "string",
}
COMPLETION_COLUMNS: dict[str, str] = {
    "id": "string",
    "index": "int64",
    "source": "string",
    "verifier": "string",
    "prompt": "message[]",
    "prompt_format": "string",
    "prompt_text": "string",
    "prompt_ids": "int32[]",
    "prompt_opens_think": "bool",
    "question": "string",
    "answer": "string",
    "options": "string[]",
    "solution": "string",
    "metadata": "string",
    "completions": "string[]",
    "completion_ids": "int32[][]",
    "token_logprobs": "float16[][]",
    "token_entropies": "float16[][]",
    "entropy_lower": "float16[][]",
    "entropy_upper": "float16[][]",
    "finish_reasons": "string[]",
    "seeds": "int64[]",
    "models": "string[]",
    "num_tokens": "int32[]",
    "teacher": "string",
    "tokenizer_fingerprint": "string",
    "entropy_kind": "string",
}
SCORE_COLUMNS: dict[str, str] = {
    "id": "string",
    "index": "int64",
    "outcomes": "string[]",
    "scores": "float32[]",
    "extracted_answers": "string[]",
    "verdict_reasons": "string[]",
    "rewards": "float32[]",
    "advantages": "float32[]",
    "num_correct": "int32",
    "pass_rate": "float32",
    "reward_mean": "float32",
    "reward_std": "float32",
    "kept": "bool",
    "drop_reason": "string",
}
ENTROPY_COLUMNS: dict[str, str] = {
    "id": "string",
    "index": "int64",
    "token_logprobs": "float16[][]",
    "token_entropies": "float16[][]",
    "logprob_mismatch": "float32",
    "logprob_mismatch_max": "float32",
}
DATASET_COLUMNS: dict[str, str] = {
    "entropy_mean": "float32",
    "logprob_mismatch": "float32",
    "logprob_mismatch_max": "float32",
    "run_id": "string",
    "schema_version": "int32",
}
REWARD_PREFIX = "reward_"


def reward_column(part: str) -> str:
    """The column of one reward part.

    >>> reward_column("cosine")
    'reward_cosine'
    """
    return REWARD_PREFIX + part


def arrow_schema(columns: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of a table of columns.

    >>> arrow_schema({"completion_ids": "int32[][]"}).field("completion_ids").type
    ListType(list<item: list<item: int32>>)
    """
    import pyarrow as pa

    def arrow_type(text: str) -> pa.DataType:
        if text.endswith("[]"):
            return pa.list_(arrow_type(text[:-2]))
        if text == "message":
            return pa.struct([("role", pa.string()), ("content", pa.string())])
        return pa.type_for_alias("halffloat" if text == "float16" else text)

    return pa.schema([(name, arrow_type(text)) for name, text in columns.items()])


def score_columns(parts: Iterable[str]) -> dict[str, str]:
    """The columns of a scores part when the reward has these parts."""
    return {**SCORE_COLUMNS, **{reward_column(part): "float32[]" for part in parts}}


def dataset_columns(parts: Iterable[str]) -> dict[str, str]:
    """The columns of a dataset: completions, scores and what only the whole knows."""
    return {**COMPLETION_COLUMNS, **score_columns(parts), **DATASET_COLUMNS}


def group_to_row(group: Group) -> dict[str, Any]:
    """A sampled group as a row of ``COMPLETION_COLUMNS``."""
    problem, prompt, completions = group.problem, group.prompt, group.completions
    exact, bounded = group.entropy_kind == "exact", group.entropy_kind == "topk_bounds"
    return {
        "id": problem.id,
        "index": problem.index,
        "source": problem.source,
        "verifier": problem.verifier,
        "prompt": [dict(message) for message in prompt.messages],
        "prompt_format": prompt.format,
        "prompt_text": prompt.text,
        "prompt_ids": list(prompt.token_ids),
        "prompt_opens_think": prompt.opens_think,
        "question": problem.question,
        "answer": problem.answer,
        "options": list(problem.options),
        "solution": problem.solution,
        "metadata": problem.metadata,
        "completions": [completion.text for completion in completions],
        "completion_ids": [list(completion.token_ids) for completion in completions],
        "token_logprobs": [list(completion.logprobs or ()) for completion in completions],
        "token_entropies": [list(completion.entropies or ()) if exact else [] for completion in completions],
        "entropy_lower": [list(completion.entropy_lower or ()) if bounded else [] for completion in completions],
        "entropy_upper": [list(completion.entropy_upper or ()) if bounded else [] for completion in completions],
        "finish_reasons": [completion.finish_reason for completion in completions],
        "seeds": [completion.seed for completion in completions],
        "models": [completion.model for completion in completions],
        "num_tokens": [completion.num_tokens for completion in completions],
        "teacher": group.teacher,
        "tokenizer_fingerprint": group.tokenizer_fingerprint,
        "entropy_kind": group.entropy_kind,
    }


def row_to_group(row: Mapping[str, Any]) -> Group:
    """The group that a row of ``COMPLETION_COLUMNS`` (or of a dataset) holds."""
    problem = Problem(
        id=row["id"],
        question=row["question"],
        answer=row["answer"],
        source=row["source"],
        verifier=row["verifier"],
        index=row["index"],
        options=tuple(row["options"]),
        solution=row["solution"],
        metadata=row["metadata"],
    )
    messages = tuple(Message(role=message["role"], content=message["content"]) for message in row["prompt"])
    prompt = Prompt(
        messages, row["prompt_format"], row["prompt_text"], tuple(row["prompt_ids"]), row["prompt_opens_think"]
    )
    completions = tuple(
        Completion(
            text=text,
            token_ids=tuple(row["completion_ids"][i]),
            num_tokens=row["num_tokens"][i],
            logprobs=tuple(row["token_logprobs"][i]) or None,
            entropies=tuple(row["token_entropies"][i]) or None,
            entropy_lower=tuple(row["entropy_lower"][i]) or None,
            entropy_upper=tuple(row["entropy_upper"][i]) or None,
            finish_reason=row["finish_reasons"][i],
            seed=row["seeds"][i],
            model=row["models"][i],
            think_opened=row["prompt_opens_think"],
        )
        for i, text in enumerate(row["completions"])
    )
    return Group(problem, prompt, completions, row["teacher"], row["tokenizer_fingerprint"], row["entropy_kind"])


def scores_to_row(problem: Problem, scores: GroupScores) -> dict[str, Any]:
    """A group's scores as a row of ``score_columns``."""
    rewarded = [reward for reward in scores.rewards if reward is not None]
    num_judged = sum(verdict.score is not None for verdict in scores.verdicts)
    num_correct = sum(verdict.outcome is Outcome.CORRECT for verdict in scores.verdicts)
    return {
        "id": problem.id,
        "index": problem.index,
        "outcomes": [verdict.outcome.value for verdict in scores.verdicts],
        "scores": [verdict.score for verdict in scores.verdicts],
        "extracted_answers": [verdict.answer for verdict in scores.verdicts],
        "verdict_reasons": [verdict.reason for verdict in scores.verdicts],
        "rewards": list(scores.rewards),
        "advantages": list(scores.advantages),
        "num_correct": num_correct,
        "pass_rate": num_correct / num_judged if num_judged else None,
        "reward_mean": fmean(rewarded) if rewarded else None,
        # exact: of equal rewards it is 0, where sums of floats may leave a rest
        "reward_std": pstdev(rewarded) if rewarded else None,
        "kept": scores.kept,
        "drop_reason": scores.drop_reason,
        **{reward_column(part): list(values) for part, values in scores.reward_parts.items()},
    }


def row_to_scores(row: Mapping[str, Any]) -> GroupScores:
    """The scores that a row of ``score_columns`` (or of a dataset) holds."""
    verdicts = tuple(
        Verdict(Outcome(outcome), answer, reason)
        for outcome, answer, reason in zip(
            row["outcomes"], row["extracted_answers"], row["verdict_reasons"], strict=True
        )
    )
    parts = {part: tuple(row[reward_column(part)]) for part in reward_parts(row)}
    return GroupScores(verdicts, tuple(row["rewards"]), tuple(row["advantages"]), parts, row["drop_reason"])


def reward_parts(columns: Iterable[str]) -> tuple[str, ...]:
    """The reward parts that a dataset's column names tell of.

    >>> reward_parts(["rewards", "reward_mean", "reward_cosine", "reward_format", "reward_std"])
    ('cosine', 'format')
    """
    parts = [name.removeprefix(REWARD_PREFIX) for name in columns if name.startswith(REWARD_PREFIX)]
    return tuple(part for part in parts if reward_column(part) not in SCORE_COLUMNS)


def check_dataset(columns: Sequence[str], versions: Iterable[int], where: str) -> None:
    """Raise a DistillError unless a table is a dataset of this schema version."""
    missing = [name for name in dataset_columns(()) if name not in columns]
    if missing:
        raise DistillError(
            f"{where} has no column '{missing[0]}'; it is not a curated dataset",
            hint=f"found: {', '.join(columns)}; 'distill curate' makes one",
        )
    foreign = sorted(set(versions) - {SCHEMA_VERSION})
    if foreign:
        raise DistillError(
            f"{where} has schema version {foreign[0]}, this distill reads version {SCHEMA_VERSION}",
            hint="make it again with 'distill score RUN', or install the distill that wrote it",
        )


def damaged_dataset(folder: Path, error: Exception) -> DistillError:
    """What is said of a dataset whose files cannot be read, by the error that reading them raised."""
    reason = str(error).partition("\n")[0] or type(error).__name__
    return DistillError(
        f"the dataset '{folder}' is damaged: {reason}",
        hint="remove its folder; 'distill score RUN' writes it again from the run that holds it",
    )


def metadata_json(values: Mapping[str, Any]) -> str:
    """Metadata as it is stored: a JSON object with sorted keys.

    >>> metadata_json({"steps": 3, "category": "add"})
    '{"category": "add", "steps": 3}'
    """
    return json.dumps(dict(values), sort_keys=True, ensure_ascii=False)
