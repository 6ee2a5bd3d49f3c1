"""What a student's card says: from the report of its training, and from the reports of its evaluations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import distill
from distill.evals.page.content import Content
from distill.evals.page.model_card import model_card
from distill.publish.card import fenced, hide_secrets, table_rows

SHOWN = (
    "epochs", "groups_per_step", "max_tokens", "completions_per_group", "optimizer.learning_rate",
    "optimizer.weight_decay", "optimizer.schedule", "optimizer.warmup_ratio", "lora.rank", "lora.alpha",
    "loss.contrastive_weight", "low_entropy_mask.percent", "slow_tuning.tau", "dtype", "seed",
)  # fmt: skip
"""Settings that a reader asks for first; all of them stand in the recipe below."""
HEADING = re.compile(r"^(#+ )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A student, and what is known of how it was trained."""

    folder: Path
    report: Mapping[str, Any]
    """Of its training; empty where another tool trained it."""
    is_adapter: bool
    base: str
    """The base model as training was given it, or its name on the Hub."""
    base_on_hub: bool
    datasets: tuple[str, ...]
    """On the Hub."""


def model_card_fields(facts: ModelFacts, repo_id: str, content: Content | None) -> dict[str, str]:
    """The texts that the template of a model's card asks for."""
    report = facts.report
    kind = "LoRA adapters for" if facts.is_adapter else "A student trained from"
    versions = report.get("versions") or {}
    fields = {
        "title": repo_id.partition("/")[2],
        "library": "peft" if facts.is_adapter else "transformers",
        "summary": (
            f"{kind} {_link(facts.base, facts.base_on_hub)}, on what a teacher wrote, by the method "
            f"`{report.get('method', 'not known')}` of "
            f"[distill](https://pypi.org/project/distill-reasoning/) {versions.get('distill', distill.__version__)}."
        ),
        "table": table_rows(list(_table(facts))),
        "usage": fenced(_usage(facts, repo_id), "python"),
        "evaluation": model_card(content).rstrip() if content else "## Evaluation\n\nIt was not measured.",
        "limits": "\n".join(f"- {line}" for line in _limits(facts, content)),
        "recipe": fenced(_recipe(report), "yaml") if report.get("config") else "Not known: trained elsewhere.",
        "versions": "Versions: "
        + (", ".join(f"{name} {number}" for name, number in versions.items()) or "not known")
        + ".",
    }
    return {name: hide_secrets(text) for name, text in fields.items()}


def _link(name: str, on_hub: bool) -> str:
    if on_hub:
        return f"[{name}](https://huggingface.co/{name})"
    return f"`{name}`" if name else "a base model that is not known"


def _table(facts: ModelFacts) -> Iterator[tuple[object, ...]]:
    report = facts.report
    yield "base model", _link(facts.base, facts.base_on_hub)
    linked = ", ".join(f"[{name}](https://huggingface.co/datasets/{name})" for name in facts.datasets)
    run = f"curation run `{report['run_id']}`" if report.get("run_id") else ""
    yield "dataset", "; ".join(text for text in (linked, run) if text) or "not known"
    yield "method", f"`{report.get('method', 'not known')}`"
    data = report.get("data") or {}
    if data:
        yield "trained on", f"{data['groups']:,} groups, {data['completions']:,} completions, {data['tokens']:,} tokens"
        yield "steps", f"{report['steps']:,}, {report['skipped_steps']:,} of them skipped"
    for name in SHOWN:
        value: Any = report.get("config") or {}
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            yield f"`{name}`", value
    last = (report.get("epochs") or [{}])[-1]
    for name in ("loss", "cross_entropy"):
        if name in last:
            yield f"{name.replace('_', ' ')}, last epoch", f"{last[name]:.4f}"


def _usage(facts: ModelFacts, repo_id: str) -> str:
    if facts.is_adapter:
        base = facts.base if facts.base_on_hub else "BASE-MODEL"
        return (
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "{repo_id}")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{repo_id}")'
        )
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'model = AutoModelForCausalLM.from_pretrained("{repo_id}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{repo_id}")'
    )


def _limits(facts: ModelFacts, content: Content | None) -> Iterator[str]:
    yield "It imitates a teacher on one set of problems; elsewhere it may be worse than its base model."
    if content is None:
        yield "Neither what it can do nor how it answers harmful requests was measured."
    elif not content.safety:
        yield "How it answers harmful requests was not measured; training on reasoning is known to weaken refusals."
    yield from (f"In training: {found['name']} of {found['measure']} at epoch {found['epoch']}. {found['advice']}"
                for found in facts.report.get("patterns") or ())  # fmt: skip
    if facts.report.get("skipped_steps"):
        yield f"{facts.report['skipped_steps']:,} steps changed nothing: their loss or gradient was not finite."
    if not facts.base_on_hub:
        yield "The base model has no name on the Hub, so its licence and its card are not linked."


def _recipe(report: Mapping[str, Any]) -> str:
    return yaml.safe_dump({"train": report["config"]}, sort_keys=False, allow_unicode=True)
