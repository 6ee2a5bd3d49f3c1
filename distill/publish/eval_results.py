"""Results that machines read: 'model-index' in a model's card, and the Hub's files in '.eval_results'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from distill.cards import Card, card_names, load_card
from distill.evals.gather import Run
from distill.evals.report import Report


def model_index(repo_id: str, run: Run) -> list[dict[str, Any]]:
    """The accuracies of a model in percent, as 'model-index' has them; the verbosity ratio where there is one."""
    results = []
    for report in run.reports.values():
        card = _card(report)
        dataset = {"name": report.name, "type": card.hub.id if card and card.hub else report.benchmark}
        dataset |= {"config": card.hub.config} if card and card.hub and card.hub.config else {}
        results.append(
            {
                "task": {"type": "text-generation", "name": "reasoning"},
                "dataset": {**dataset, "split": report.split or "test", "args": _drawn(report)},
                "metrics": list(_metrics(report)),
            }
        )
    return [{"name": repo_id.partition("/")[2], "results": results}]


def hub_results(run: Run) -> dict[str, str]:
    """File -> YAML for the leaderboards of the Hub's benchmarks: one for every benchmark there, where all was asked."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    files = {}
    for report in run.reports.values():
        card = _card(report)
        if card is None or card.hub is None or card.hub.parts or not _is_whole(report, card):
            continue
        entry = EvalResultEntry(
            dataset_id=card.hub.id,
            task_id=card.hub.config or "default",
            value=round(100 * report.accuracy, 2),
            dataset_revision=card.hub.revision if len(card.hub.revision) == 40 else None,
            notes=f"distill {report.versions.get('distill', '')}, {_drawn_text(report)}",
        )
        text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
        files[f"{report.benchmark}.yaml" if report.split == "test" else f"{report.benchmark}_{report.split}.yaml"] = (
            text
        )
    return files


def _metrics(report: Report) -> Iterator[dict[str, Any]]:
    interval = f"{100 * report.interval.low:.1f} to {100 * report.interval.high:.1f}"
    name = f"accuracy, % (95 % interval {interval}; {report.num_problems:,} problems)"
    yield {"type": "accuracy", "value": round(100 * report.accuracy, 2), "name": name}
    for k, share in report.pass_at_k.items():
        if k > 1:
            yield {"type": "pass@k", "value": round(100 * share, 2), "name": f"pass@{k}, %"}
    if report.mean_tokens.all is not None:
        yield {"type": "mean_tokens", "value": round(report.mean_tokens.all, 1), "name": "tokens per completion"}


def _is_whole(report: Report, card: Card) -> bool:
    """Whether every problem of the benchmark was asked; a slice of one is no result of it."""
    split = card.splits.get(report.split)
    return split is not None and not report.absent and split.size == report.num_problems


def _card(report: Report) -> Card | None:
    return load_card(report.benchmark) if report.benchmark in card_names() else None


def _drawn(report: Report) -> dict[str, Any]:
    return dict(report.settings.get("sampling") or {})


def _drawn_text(report: Report) -> str:
    return (
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in _drawn(report).items()) or "recorded elsewhere"
    )
