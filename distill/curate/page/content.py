"""What a dataset's page holds: its numbers, and a sample of its groups that is bounded in number and in size."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.curate.dataset import dataset_batches
from distill.curate.marked import (
    by_advantage,
    cut_out,
    entropy_strip,
    is_harmful,
    open_tokens,
    shown_pieces,
    token_entropies,
    token_texts,
)
from distill.curate.stats import Stats
from distill.curate.where import read_where
from distill.printable import printable
from distill.records import Completion, Group, GroupScores, Verdict
from distill.schema import row_to_group, row_to_scores

if TYPE_CHECKING:
    import pyarrow as pa
    from tokenizers import Tokenizer

MAX_GROUPS = 200
MAX_CHARACTERS = 6_000
"""Of a completion, or a question: its beginning, its end, and where the answer was read."""
MAX_PAGE_CHARACTERS = 8 * 2**20
"""Of all texts of a page; a browser opens such a page at once."""
STRIP_BINS = 60


@dataclass(frozen=True, slots=True)
class Content:
    """A dataset's numbers and some of its groups."""

    stats: Stats
    groups: tuple[dict[str, Any], ...]
    """As the page's script reads them; every text is printable."""
    has_extremes: bool
    """Whether the best and the worst groups are among them."""


def gather_content(stats: Stats, max_groups: int = MAX_GROUPS, *, show_harmful: bool = False) -> Content:
    """Read the groups that the page of a dataset shows.

    The groups are the best, the worst, and others evenly spaced in the order of the source.

    Raises:
        DistillError: the dataset is not there any more.
    """
    named = {group.id for group in (*stats.best, *stats.worst)} if max_groups >= MAX_GROUPS else set()
    room = max(0, max_groups - len(named))
    places = {place * stats.groups // room for place in range(min(room, stats.groups))} if room else set()
    if room >= stats.groups:
        places = set(range(stats.groups))
    shown: list[dict[str, Any]] = []
    characters = 0
    tokenizers: dict[str, Tokenizer | None] = {}
    for group, scores in _chosen_groups(stats, places, named):
        if group.teacher not in tokenizers:
            tokenizers[group.teacher] = open_tokens(group.teacher)
        shown.append(_group(group, scores, tokenizers[group.teacher], show_harmful=show_harmful))
        characters += sum(len(piece) for item in shown[-1]["completions"] for piece in item["pieces"])
        if characters > MAX_PAGE_CHARACTERS:
            break
    return Content(stats, tuple(shown), bool(named))


def _chosen_groups(stats: Stats, places: Collection[int], ids: Collection[str]) -> Iterator[tuple[Group, GroupScores]]:
    """The groups at some places among those that fulfil a condition, and those of some ids; no other row is read."""
    import pyarrow as pa
    import pyarrow.compute as pc

    condition, before = None, 0
    wanted = pa.array(sorted(ids), pa.string())
    for batch in dataset_batches(Path(stats.path)):
        rows = range(batch.num_rows)
        if stats.where:
            condition = condition or read_where(stats.where, batch.schema.names)
            found = condition.chosen(batch.select([*condition.sources])).to_pylist()
            rows = [row for row in rows if found[row]]  # type: ignore[assignment]
        named = pc.is_in(batch["id"], value_set=wanted).to_pylist()
        for number, row in enumerate(rows, before):
            if number in places or named[row]:
                yield _read(batch, row)
        before += len(rows)


def _read(batch: pa.RecordBatch, row: int) -> tuple[Group, GroupScores]:
    [values] = batch.slice(row, 1).to_pylist()
    return row_to_group(values), row_to_scores(values)


def _group(group: Group, scores: GroupScores, tokenizer: Tokenizer | None, *, show_harmful: bool) -> dict[str, Any]:
    """A group as the page's script reads it."""
    rewarded = [reward for reward in scores.rewards if reward is not None]
    return {
        "id": printable(group.problem.id),
        "question": _cut(group.problem.question),
        "gold": _cut(group.problem.answer),
        "options": [_cut(option) for option in group.problem.options],
        "dropped": printable(scores.drop_reason),
        "correct": sum(verdict.score == 1 for verdict in scores.verdicts),
        "reward": _finite(sum(rewarded) / len(rewarded)) if rewarded else None,
        "completions": [
            {
                "number": i,
                "outcome": scores.verdicts[i].outcome.value,
                "reason": printable(scores.verdicts[i].reason),
                "answer": None if scores.verdicts[i].answer is None else _cut(scores.verdicts[i].answer or "", 120),
                "reward": _finite(scores.rewards[i]),
                "advantage": _finite(scores.advantages[i]),
                "parts": {printable(name): _finite(values[i]) for name, values in scores.reward_parts.items()},
                "tokens": group.completions[i].num_tokens,
                "finish": group.completions[i].finish_reason,
                **_text(group, group.completions[i], scores.verdicts[i], tokenizer, show_harmful=show_harmful),
            }
            for i in by_advantage(group, scores)
        ],
    }


def _cut(text: str, most: int = MAX_CHARACTERS) -> str:
    stretches = [printable(text[start:end]) for start, end in cut_out(text, most)]
    return " […] ".join(stretches)


def _text(
    group: Group, completion: Completion, verdict: Verdict, tokenizer: Tokenizer | None, *, show_harmful: bool
) -> dict[str, Any]:
    """A completion's text in pieces, which of them are the answer, and how unsure the teacher was of each.

    Entropies are in hundredths of a nat. Where the tokens' texts are not known there is a strip of means instead.
    """
    if is_harmful(group, verdict) and not show_harmful:
        return {"hidden": True, "pieces": []}
    texts = token_texts(tokenizer, completion)
    entropies = token_entropies(completion)
    pieces = list(shown_pieces(completion, verdict, texts, MAX_CHARACTERS))
    found: dict[str, Any] = {
        "pieces": [
            f"\n… {piece.left_out:,} characters left out …\n" if piece.left_out else printable(piece.text)
            for piece in pieces
        ],
        "answers": [place for place, piece in enumerate(pieces) if piece.is_answer],
    }
    if texts is not None and entropies is not None:
        found["nats"] = [
            -1 if _finite(piece.entropy) is None else round(100 * (piece.entropy or 0)) for piece in pieces
        ]
    elif entropies:
        found["strip"] = [round(mean, 2) for mean in entropy_strip(entropies, STRIP_BINS) if isfinite(mean)]
    return found


def _finite(value: float | None) -> float | None:
    """A number that JSON has, or nothing."""
    return None if value is None or not isfinite(value) else round(value, 4)
