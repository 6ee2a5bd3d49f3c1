"""How often the refusal verifier agrees with people, on each model by points that were learnt on the other two.

    python benchmarks/refusal.py DATA/xstest

Reads ``completions_MODEL.jsonl`` (450 completions each, with a human ``final_label``) and ``autolabels_MODEL.jsonl``
(``strmatch_label``: prefix matching by the authors of XSTest, https://github.com/paul-rottger/exaggerated-safety). A
full and a partial refusal both count as refusal; a completion that the verifier calls unknown counts as wrong.

What the folds hold out is the points. The signs themselves were written by somebody who had read the disagreements on
prompts of even number, of all three models, and none on odd ones, and were kept or dropped by what they did to the
agreement on both: the two halves are reported apart. The signs of the first draft, written before any disagreement was
read, agree on 1,233 of 1,350 by the same folds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.evals.chance import wilson_interval
from distill.verifiers.kinds.refusal import refusal_class
from distill.verifiers.reading.refusal_signs import BIAS, all_signs, signs

MODELS = ("gpt4", "llama2orig", "mistralinstruct")
TENTHS = 10  # points are tenths of log-odds
PRECISION = 1.0  # of the points' prior, a standard normal on log-odds
NEWTON_STEPS = 25  # it converges in ten

Points = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Row:
    """A completion with what three judges say of it."""

    model: str
    number: int
    """The prompt's, from 1."""
    signs: frozenset[str]
    is_refusal: bool
    """By the people who labelled it."""
    ours: str
    prefix_refusal: bool


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a judge stands to the people."""

    agreed: int = 0
    total: int = 0
    missed: int = 0
    """Refusals that are taken for compliance."""
    false_alarms: int = 0
    """Compliance that is taken for a refusal."""

    def __str__(self) -> str:
        interval = wilson_interval(self.agreed, self.total)
        bounds = f"{interval.low:.1%} to {interval.high:.1%}"
        share = f"{self.agreed:5,} of {self.total:5,}  {self.agreed / self.total:6.1%} ({bounds})"
        return f"{share}  {self.missed:4} missed  {self.false_alarms:4} false alarms"


def read_rows(folder: Path) -> list[Row]:
    rows = []
    for model in MODELS:
        labels = _jsonl(folder / f"autolabels_{model}.jsonl")
        prefix = {str(label["id"]): label["strmatch_label"] != "1_full_compliance" for label in labels}
        for line in _jsonl(folder / f"completions_{model}.jsonl"):
            row_id, text = str(line["id"]), str(line["completion"])
            is_refusal = line["final_label"] != "1_full_compliance"
            number = int(row_id.rpartition("-")[2])
            rows.append(Row(model, number, frozenset(signs(text)), is_refusal, refusal_class(text), prefix[row_id]))
    return rows


def _jsonl(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def agreement(pairs: Iterable[tuple[bool, bool]]) -> Agreement:
    """The agreement of pairs (refusal by the people, refusal by the judge)."""
    pairs = list(pairs)
    missed = sum(human and not judge for human, judge in pairs)
    false_alarms = sum(judge and not human for human, judge in pairs)
    return Agreement(len(pairs) - missed - false_alarms, len(pairs), missed, false_alarms)


def learn(rows: Sequence[Row]) -> tuple[Points, int]:
    """Points of every sign, and of a completion without any: logistic regression by Newton's method, rounded."""
    names = list(all_signs())
    shown = np.array([[name in row.signs for name in names] + [True] for row in rows], dtype=float)
    label = np.array([row.is_refusal for row in rows], dtype=float)
    precision = np.append(np.full(len(names), PRECISION), 0.0)  # none on the bias
    weights = np.zeros(len(names) + 1)
    for _ in range(NEWTON_STEPS):
        probability = 1 / (1 + np.exp(-shown @ weights))
        gradient = shown.T @ (probability - label) + precision * weights
        curvature = (shown * (probability * (1 - probability))[:, None]).T @ shown + np.diag(precision)
        weights -= np.linalg.solve(curvature, gradient)
    *points, bias = (round(TENTHS * weight) for weight in weights.tolist())
    return dict(zip(names, points, strict=True)), bias


def judged(rows: Sequence[Row], points: Points, bias: int) -> Iterator[tuple[bool, bool]]:
    """Pairs for ``agreement``; an unknown one disagrees with the people whatever they say."""
    for row in rows:
        judge = bias + sum(points[sign] for sign in row.signs) > 0
        yield row.is_refusal, (not row.is_refusal if row.ours == "unknown" else judge)


def by_folds(rows: Sequence[Row], held_out: Callable[[Row, Row], bool]) -> Iterator[tuple[Row, tuple[bool, bool]]]:
    """Each row with its pair, by points learnt on the rows that it does not hold out."""
    learnt: dict[tuple[str, int], tuple[Points, int]] = {}
    for row in rows:
        key = (row.model, row.number % 2)
        if key not in learnt:
            learnt[key] = learn([other for other in rows if not held_out(row, other)])
        yield row, next(judged([row], *learnt[key]))


def same_model(row: Row, other: Row) -> bool:
    return row.model == other.model


def same_model_or_half(row: Row, other: Row) -> bool:
    """Also true for every completion of the half of the prompts, by even and odd numbers, that the row's belongs to."""
    return row.model == other.model or row.number % 2 == other.number % 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    rows = read_rows(parser.parse_args().folder)
    pairs = list(by_folds(rows, same_model))
    print("learnt on two models, judged on the third")
    for model in MODELS:
        print(f"  {model:16}", agreement(pair for row, pair in pairs if row.model == model))
        prefix = [(row.is_refusal, row.prefix_refusal) for row in rows if row.model == model]
        print(f"    {'prefix match':14}", agreement(prefix))
    print(f"  {'all three':16}", agreement(pair for _, pair in pairs))
    print(f"    {'prefix match':14}", agreement((row.is_refusal, row.prefix_refusal) for row in rows))
    print("  of them")
    for parity, name in enumerate(("even numbers", "odd numbers")):
        print(f"    {name:14}", agreement(pair for row, pair in pairs if row.number % 2 == parity))
    halves = agreement(pair for _, pair in by_folds(rows, same_model_or_half))
    print("learnt on two models and half of the prompts, judged on the third and the other half")
    print(f"  {'all three':16}", halves)
    points, bias = learn(rows)
    print("shipped points, learnt on all three")
    print(f"  {'all three':16}", agreement(judged(rows, all_signs(), BIAS)))
    print("  unknown:", sum(row.ours == "unknown" for row in rows))
    same = points == all_signs() and bias == BIAS
    print("  the same points as learnt now" if same else f"  learnt now: {dict(points)}, bias {bias}")


if __name__ == "__main__":
    main()
