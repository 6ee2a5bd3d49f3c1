"""Files of completions that were damaged at random: each row is scored or named, and nothing else happens."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from distill.config import EvalConfig, RecordedConfig
from distill.evals.rescore import rescore
from distill.evals.run import evaluate
from tests.test_evals_rescore import gsm8k_row, lm_eval_row
from tests.test_evals_run import answering_config, benchmark_file

JUNK = [None, "", 0, -1, 1.5, float("nan"), True, [], {}, [None], "\ud800", "x" * 5_000, {"a": 1}, ["a", "b"], 10**30]
JUNK += ["[", [["-1.5", False]], [{"text": "x"}]]


def damaged(value: Any, draw: random.Random) -> Any:
    """The value with one thing in it taken away or replaced."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        rest = {name: inner for name, inner in value.items() if name != key}
        chance = draw.random()
        return rest if chance < 0.25 else rest | {key: draw.choice(JUNK) if chance < 0.6 else damaged(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.7:
        place = draw.randrange(len(value))
        return [*value[:place], damaged(value[place], draw), *value[place + 1 :]]
    return draw.choice(JUNK)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("own")
    evaluate(answering_config(benchmark_file(folder / "sums.jsonl", ["?"] * 5), num_completions=2), folder / "out")
    lines = (folder / "out" / "sums-all" / "completions.jsonl").read_text("utf-8").splitlines()
    return {
        "completions.jsonl": [json.loads(line) for line in lines],
        "samples_gsm8k_2026-01-01T00-00-00.1.jsonl": [lm_eval_row(number, f"#### {number + 1}") for number in range(5)],
        "rows.jsonl": [gsm8k_row(n, f"#### {n + 1}", id=str(n), model="m", num_tokens=3) for n in range(5)],
    }


@pytest.mark.parametrize("seed", range(60))
def test_damaged_rows_are_scored_or_named_and_stop_nothing(
    seed: int, shapes: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    draw = random.Random(seed)
    name = draw.choice(list(shapes))
    rows = shapes[name]
    places = draw.sample(range(len(rows)), 2)
    lines = [json.dumps(damaged(row, draw) if place in places else row) for place, row in enumerate(rows)]
    if draw.random() < 0.3:
        lines[places[0]] = lines[places[0]][: draw.randrange(len(lines[places[0]]) + 1)]
    path = tmp_path / name
    path.write_text("\n".join(lines))
    recorded = RecordedConfig(path=str(path))
    benchmarks = ("gsm8k",) if name == "rows.jsonl" else ()
    reports = rescore(EvalConfig(recorded=recorded, benchmarks=benchmarks), tmp_path / "out")
    whole = set(range(len(rows))) - set(places)
    assert sum(report.num_completions for report in reports) >= len(whole)
    assert all(0 < item.row <= len(rows) for report in reports for item in report.rejected)
