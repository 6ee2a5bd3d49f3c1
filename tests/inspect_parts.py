"""Datasets for the tests of inspection, written as curation writes them, every value known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from distill.curate.join import write_batches
from distill.records import Completion, Group, GroupScores, Message, Outcome, Problem, Prompt, Verdict
from distill.schema import SCHEMA_VERSION, arrow_schema, dataset_columns, group_to_row, scores_to_row

RIGHT, WRONG = Verdict(Outcome.CORRECT, "1", "string"), Verdict(Outcome.INCORRECT, "2", "number")
UNVERIFIED = Verdict(Outcome.UNVERIFIED, None, "timeout")
# Verdicts, rewards, lengths, why it is dropped: solved 1 of 2; 0 of 1; 2 of 2 with equal rewards; 1 of 2, upside down.
ROWS = (
    ((RIGHT, WRONG), (2.0, -1.0), (3, 8), ""),
    ((WRONG, UNVERIFIED), (-2.0, None), (10, 10), "no_correct"),
    ((RIGHT, RIGHT), (0.1, 0.1), (4, 5), ""),
    ((RIGHT, WRONG), (1.0, 3.0), (4, 6), ""),
)


def group_of(index: int, texts: Sequence[str], lengths: Sequence[int], **problem: str) -> Group:
    """A group of these texts; the entropy of a completion's last token is 2, of the others 0.5."""
    values = {"id": f"p/{index}", "question": f"What is {index}?", "answer": "1", "verifier": "math", **problem}
    completions = tuple(
        Completion(text, (7,) * n, logprobs=(0.0,) * n, entropies=(0.5,) * (n - 1) + (2.0,), model="m")
        for text, n in zip(texts, lengths, strict=True)
    )
    prompt = Prompt((Message(role="user", content=values["question"]),), "chat", "user: ?", (1, 2))
    return Group(Problem(index=index, source="made", **values), prompt, completions, "nobody", "t", "exact")


def hand_made() -> tuple[list[Group], list[GroupScores]]:
    """The groups of ``ROWS``, called p/0 to p/3."""
    groups, scores = [], []
    for index, (verdicts, rewards, lengths, dropped) in enumerate(ROWS):
        groups.append(group_of(index, [f"completion {place} of {index}" for place in (0, 1)], lengths))
        advantages = tuple(None if reward is None else reward - (rewards[0] or 0.0) for reward in rewards)
        scores.append(GroupScores(verdicts, rewards, advantages, {"format": (1.0, 1.0)}, dropped))
    return groups, scores


def write_groups(
    folder: Path, groups: Sequence[Group], scores: Sequence[GroupScores], *, rows_per_batch: int = 2
) -> Path:
    """A dataset of these groups, in batches of few rows, so that nothing may be taken from one batch alone."""
    schema = arrow_schema(dataset_columns(scores[0].reward_parts))
    rows = [
        {
            **group_to_row(group),
            **scores_to_row(group.problem, scored),
            "entropy_mean": 1.0,
            "run_id": "run",
            "schema_version": SCHEMA_VERSION,
        }
        for group, scored in zip(groups, scores, strict=True)
    ]
    batches = [
        pa.RecordBatch.from_pylist(rows[start : start + rows_per_batch], schema)
        for start in range(0, len(rows), rows_per_batch)
    ]
    folder.mkdir(parents=True)
    write_batches(batches, schema, folder, "run")
    return folder


def one_group(folder: Path, group: Group, verdicts: Sequence[Verdict]) -> Path:
    """A dataset of one group; a correct completion earns 1, any other 0."""
    rewards = tuple(float(verdict.outcome is Outcome.CORRECT) for verdict in verdicts)
    return write_groups(folder, [group], [GroupScores(tuple(verdicts), rewards, rewards, {"format": rewards})])


def with_text(group: Group, place: int, text: str) -> Group:
    """The group with another text of one completion."""
    completions = list(group.completions)
    completions[place] = replace(completions[place], text=text)
    return replace(group, completions=tuple(completions))
