"""What a dataset's card says: every number from the dataset itself, its manifest, or the run that made it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import distill
from distill.curate.dataset import MANIFEST, read_manifest
from distill.curate.stats import Stats, dataset_stats
from distill.errors import DistillError
from distill.publish.card import fenced, hide_secrets, licence_id, table_rows
from distill.publish.charts import bar_chart

SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")
UNKNOWN = "not known: the dataset was published without the run that made it"


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """A dataset, and what is known of how it was made."""

    folder: Path
    manifest: Mapping[str, Any]
    stats: Stats
    run: Mapping[str, Any]
    """What run.json says; empty where the dataset stands alone."""
    recipe: str
    """The resolved recipe as YAML; empty where the dataset stands alone."""

    @property
    def about(self) -> Mapping[str, str]:
        """What is known of the problems' source."""
        return self.manifest.get("about") or {}

    def settings(self, *path: str) -> Any:
        """A setting of the run that decided its bytes; None where it is not known."""
        found: Any = self.run.get("settings") or {}
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


def read_facts(folder: Path) -> DatasetFacts:
    """What is known of the dataset in a folder.

    Raises:
        DistillError: it is no curated dataset.
    """
    run_file = folder.parent / "run.json"
    run = json.loads(run_file.read_text(encoding="utf-8")) if run_file.is_file() else {}
    recipe_file = folder.parent / "config.yaml"
    recipe = recipe_file.read_text(encoding="utf-8") if run and recipe_file.is_file() else ""
    return DatasetFacts(folder, read_manifest(folder), dataset_stats(folder), run, hide_secrets(recipe))


def companions(facts: DatasetFacts) -> dict[str, str]:
    """The files that travel with the data: what made it and what came of it."""
    found = {MANIFEST: facts.folder / MANIFEST, "report.json": facts.folder.parent / "report.json"}
    texts = {name: hide_secrets(path.read_text("utf-8")) for name, path in found.items() if path.is_file()}
    if not facts.run:
        texts.pop("report.json", None)  # of something else
    return texts | ({"config.yaml": facts.recipe} if facts.recipe else {})


def charts(facts: DatasetFacts) -> dict[str, str]:
    """The pictures of the card: file -> SVG."""
    stats = facts.stats
    solved = bar_chart(
        "Groups by how many of their completions are correct",
        f"correct of {stats.group_size}",
        [str(number) for number in range(stats.group_size + 1)],
        stats.pass_rates,
    )
    rewards = stats.rewards
    if rewards is None:
        return {"charts/solve_rates.svg": solved}
    starts = [f"{edge:.2g}" for edge in rewards.edges[:-1]]
    title = f"Rewards of completions (mean {rewards.mean:.2f})"
    return {
        "charts/solve_rates.svg": solved,
        "charts/rewards.svg": bar_chart(title, "reward", starts, rewards.histogram),
    }


def licence_of(facts: DatasetFacts, given: str | None) -> str:
    """The Hub's identifier of the licence: the given one, else that of the problems' source.

    Raises:
        DistillError: neither says.
    """
    stated = facts.about.get("licence", "")
    found = licence_id(given if given is not None else stated)
    if found is None:
        said = (
            f"says '{given}'" if given is not None else f"is '{stated}' for its problems" if stated else "is not known"
        )
        raise DistillError(
            f"the licence of '{facts.folder}' {said}, which is no licence of the Hub's",
            hint="say which one it shall have: --licence apache-2.0, cc-by-4.0, other ...",
        )
    return found


def size_category(rows: int) -> str:
    """The Hub's word for a number of rows.

    >>> size_category(999), size_category(1000), size_category(60_000)
    ('n<1K', '1K<n<10K', '10K<n<100K')
    """
    return SIZES[max(0, min(len(str(rows)) - 3, len(SIZES) - 1))]


def source_id(facts: DatasetFacts) -> str | None:
    """The Hub dataset that the problems are from."""
    data = facts.settings("completions", "source", "data")
    return data.get("id") if isinstance(data, Mapping) and "{part}" not in str(data.get("id", "{part}")) else None


def card_fields(
    facts: DatasetFacts, repo_id: str, configs: Sequence[tuple[str, str, int]], licence: str
) -> dict[str, str]:
    """The texts that the template of a dataset's card asks for.

    Args:
        configs: name, what a row is, and rows.
    """
    stats = facts.stats
    fields = {
        "title": repo_id.partition("/")[2],
        "repo_id": repo_id,
        "summary": (
            f"{stats.completions:,} completions of {stats.groups:,} problems, in groups of {stats.group_size}, each "
            "judged by a verifier, rewarded and compared with the others of its group. "
            f"{stats.kept:,} groups were kept and are published. "
            f"Made with [distill](https://pypi.org/project/distill-reasoning/) {distill.__version__}."
        ),
        "table": table_rows(_table(facts)),
        "configs": table_rows([(f"`{name}`", title, f"{rows:,}") for name, title, rows in configs]),
        "trainers": _trainers(repo_id, [name for name, _, _ in configs]),
        "outcomes": _outcomes(stats),
        "drops": _drops(stats),
        "contamination": _contamination(facts.manifest.get("decontamination")),
        "licence": _licence(facts, licence),
        "command": fenced(command(facts)) if facts.run else UNKNOWN + ".",
        "recipe": fenced(facts.recipe, "yaml") if facts.recipe else UNKNOWN + ".",
        "versions": _versions(facts.manifest.get("versions") or {}),
    }
    return {name: hide_secrets(text) for name, text in fields.items()}


def command(facts: DatasetFacts) -> str:
    """The command that began the run."""
    argv = (facts.run.get("sessions") or [{}])[0].get("argv") or [""]
    return hide_secrets(shlex.join(["distill", *argv[1:]]))


def _versions(versions: Mapping[str, str]) -> str:
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"Versions: {listed or UNKNOWN}."


def _table(facts: DatasetFacts) -> list[tuple[object, ...]]:
    about, manifest, stats = facts.about, facts.manifest, facts.stats
    where = source_id(facts)
    linked = f" ([{where}](https://huggingface.co/datasets/{where}))" if where else ""
    rows: list[tuple[object, ...]] = [
        ("teacher", ", ".join(f"`{name}`" for name in stats.teachers)),
        ("problems", f"{about.get('title', 'not known')}, split {about.get('split', 'not known')}{linked}"),
        ("licence of the problems", about.get("licence") or "not stated"),
        ("sampling", _options(facts.settings("completions", "sampling")) or _unsampled(facts)),
        ("prompt", _prompt(facts.settings("completions", "prompt"))),
        ("verifier", _verifier(facts)),
        ("rewards", _rewards(facts.settings("scores", "rewards"), manifest.get("reward_parts") or ())),
        ("advantages", _options(facts.settings("scores", "advantages")) or UNKNOWN),
        ("entropies of tokens", _entropies(manifest.get("entropies") or {})),
        ("run", f"`{manifest.get('run_id', 'not known')}`, schema {manifest.get('schema_version', 'not known')}"),
    ]
    return [*rows, *(("note", note) for note in manifest.get("notes") or ())]


def _unsampled(facts: DatasetFacts) -> str:
    recorded = facts.settings("completions", "recorded")
    return "none by distill: the completions were recorded before" if recorded else UNKNOWN


def _options(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items() if value is not None)


def _prompt(prompt: Mapping[str, Any] | None) -> str:
    if not prompt:
        return UNKNOWN
    system = f"system message `{prompt['system']}`" if prompt.get("system") else "no system message"
    return f"{prompt.get('format')}, {system}"


def _verifier(facts: DatasetFacts) -> str:
    kind = facts.settings("scores", "verifier", "kind") or "that of each problem"
    names = ("distill", "math-verify", "sympy", "latex2sympy2_extended")
    versions = facts.manifest.get("versions") or {}
    return f"{kind}; " + ", ".join(f"{name} {versions[name]}" for name in names if name in versions)


def _rewards(rewards: Mapping[str, Any] | None, parts: Sequence[str]) -> str:
    if not rewards:
        return ", ".join(parts) or UNKNOWN
    texts = []
    for name, part in rewards["parts"].items():
        options = _options(part.get("options"))
        texts.append(f"{part.get('weight', 1)} × {name}" + (f" ({options})" if options else ""))
    return " + ".join(texts)


def _entropies(entropies: Mapping[str, Any]) -> str:
    kinds = entropies.get("kinds") or {}
    words = {
        "exact": "exact, of the teacher's whole distribution, in nats",
        "topk_bounds": "lower and upper bounds from the largest log-probabilities, in nats",
        "none": "not measured",
    }
    return "; ".join(f"{words.get(kind, kind)} ({count:,} groups)" for kind, count in kinds.items()) or "not measured"


def _outcomes(stats: Stats) -> str:
    rows = [(name, f"{count:,}", f"{count / max(1, stats.completions):.1%}") for name, count in stats.outcomes.items()]
    return "| outcome | completions | share |\n| --- | ---: | ---: |\n" + table_rows(rows)


def _drops(stats: Stats) -> str:
    flat = f"In {stats.flat_groups:,} of the kept groups all rewards are equal, so that comparing them teaches nothing."
    if not stats.dropped:
        return f"No group was dropped. {flat}"
    rows = [(reason, f"{count:,}") for reason, count in stats.dropped.items()]
    return f"| dropped, and not published | groups |\n| --- | ---: |\n{table_rows(rows)}\n\n{flat}"


def _contamination(report: Mapping[str, Any] | None) -> str:
    if not report:
        return "The problems were not compared with any benchmark."
    rows = [(found["name"], f"{found['problems']:,}", f"{found['overlaps']:,}") for found in report["benchmarks"]]
    text = f"{report['duplicates']:,} duplicates"
    if report.get("near_duplicates"):
        text += f" and {report['near_duplicates']:,} near duplicates"
    text += " among the problems were left out before sampling."
    if rows:
        text += "\n\n| compared with | its problems | ours left out |\n| --- | ---: | ---: |\n" + table_rows(rows)
    if report.get("unchecked"):
        text += f"\n\n**Not compared with** {', '.join(report['unchecked'])}: they were not at hand."
    return text


def _licence(facts: DatasetFacts, licence: str) -> str:
    stated = facts.about.get("licence") or "not stated"
    return (
        f"`{licence}`. The licence of the problems: {stated}. The completions were written by "
        f"{', '.join(f'`{name}`' for name in facts.stats.teachers)}, and what its licence asks of those who use them "
        "holds, too."
    )


def _trainers(repo_id: str, configs: Sequence[str]) -> str:
    axolotl = f"datasets:\n  - path: {repo_id}\n    name: sft\n    type: chat_template"
    llama = {
        "hf_hub_url": repo_id,
        "subset": "sft",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }  # fmt: skip
    trl = f'from trl import SFTConfig, SFTTrainer\n\nsft = load_dataset("{repo_id}", "sft", split="train")\n'
    trl += 'trainer = SFTTrainer("Qwen/Qwen2.5-1.5B", train_dataset=sft, args=SFTConfig(assistant_only_loss=True))'
    own = (
        f'load_dataset("{repo_id}", split="train").save_to_disk("data")  # then: distill train data --method advdistill'
    )
    texts = ["**distill**\n\n" + fenced(own, "python")]
    if "sft" in configs:
        texts.append("**TRL** (`DPOTrainer` takes `preference`, `KTOTrainer` takes `kto`)\n\n" + fenced(trl, "python"))
        texts.append("**axolotl**\n\n" + fenced(axolotl, "yaml"))
        texts.append(
            "**LLaMA-Factory**, in `dataset_info.json`\n\n" + fenced(json.dumps({"distilled": llama}, indent=2), "json")
        )
    return "\n\n".join(texts)
