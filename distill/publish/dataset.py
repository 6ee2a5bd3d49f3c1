"""A curated dataset on the Hub: Parquet in several configs, a card with its numbers, and what it was made by."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.curate import Progress
from distill.curate.dataset import dataset_folder
from distill.files import write_atomically
from distill.publish.card import fill_template, hide_secrets
from distill.publish.dataset_facts import (
    DatasetFacts,
    card_fields,
    charts,
    companions,
    licence_of,
    read_facts,
    size_category,
    source_id,
)
from distill.publish.export import nothing_to_say, write_shape
from distill.publish.hub import PublishResult, Upload, check_repo_id, find_token, publish
from distill.publish.shapes import SHAPES, Choices, shape_schema

CONFIGS = ("groups", "samples", "sft", "preference", "kto")
"""The first is what ``load_dataset`` gives when no config is named."""


@dataclass(frozen=True, slots=True)
class _Config:
    """One config as it was written."""

    name: str
    rows: int
    arrow_bytes: int
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Named:
    """Progress under a config's name, whatever the stage."""

    progress: Progress
    name: str

    def __call__(self, _: str, advance: int, total: int | None) -> None:
        self.progress(self.name, advance, total)


def publish_dataset(
    dataset: Path | str,
    repo_id: str,
    *,
    public: bool = False,
    licence: str | None = None,
    languages: Sequence[str] = (),
    dry_run: bool = False,
    progress: Progress = lambda stage, advance, total: None,  # noqa: ARG005
) -> PublishResult:
    """Put the kept groups of a curated dataset on the Hub, or replace what was published before.

    The configs are 'groups', 'samples', 'sft', 'preference' and 'kto', as ``export_dataset`` writes them. Everything
    arrives in one commit. What people wrote into the card stays; what stands between its marks is written anew.

    Args:
        dataset: the dataset's folder, or the run's that holds it, which then tells more of how it was made.
        repo_id: OWNER/NAME.
        public: a new repository is private otherwise; one that exists stays as it is.
        licence: the Hub's identifier; None takes that of the problems' source, where it is known.
        languages: such as 'en'; none says nothing.
        dry_run: make all of it, and upload nothing.

    Raises:
        DistillError: no such dataset, no licence, no token, or what the Hub refuses.
    """
    check_repo_id(repo_id)
    folder = dataset_folder(Path(dataset))
    facts = read_facts(folder)
    chosen = licence_of(facts, licence)
    token = "" if dry_run else find_token()
    with tempfile.TemporaryDirectory(prefix="distill-publish-") as name:
        made = Path(name)
        configs = _write_configs(facts, made, progress)
        for path, text in {**companions(facts), **charts(facts)}.items():
            (made / path).parent.mkdir(exist_ok=True)
            write_atomically(made / path, hide_secrets(text, [token]))
        wanted = Upload(
            repo_id=repo_id,
            repo_type="dataset",
            folder=made,
            card=hide_secrets(_card(facts, repo_id, configs, chosen, languages), [token]),
            settled=tuple(key for key, given in (("license", licence), ("language", languages)) if given),
            replaced=(*CONFIGS, "charts"),
            message=f"distill publish: run {facts.stats.run_id}",
            public=public,
        )
        result = publish(wanted, token, progress)
    rows = {config.name: config.rows for config in configs}
    return replace(result, rows=rows, notes=tuple(_notes(facts, rows, public, result.private)))


def _write_configs(facts: DatasetFacts, folder: Path, progress: Progress) -> list[_Config]:
    """The configs that have rows."""
    configs = []
    for name in CONFIGS:
        named = _Named(progress, name)
        counts, files = write_shape(facts.folder, SHAPES[name], Choices(), folder / name, "parquet", named)
        if counts.rows:
            configs.append(_Config(name, counts.rows, counts.arrow_bytes, tuple(files)))
        elif name == CONFIGS[0]:
            raise nothing_to_say(facts.folder, name, counts)
        else:
            for file in files:
                file.unlink()
    return configs


def _card(facts: DatasetFacts, repo_id: str, configs: Sequence[_Config], licence: str, languages: Sequence[str]) -> str:
    """The card of a repository that has none yet."""
    tags = [f"teacher:{name}" for name in facts.stats.teachers if len(name) < 80]
    metadata: dict[str, Any] = {
        "license": licence,
        "language": list(languages),
        "pretty_name": repo_id.partition("/")[2],
        "size_categories": [size_category(max(config.rows for config in configs))],
        "source_datasets": [found] if (found := source_id(facts)) else [],
        "tags": tags,
        "configs": [
            {
                "config_name": config.name,
                "data_files": [{"split": "train", "path": f"{config.name}/train-*"}],
                **({"default": True} if config.name == CONFIGS[0] else {}),
            }
            for config in configs
        ],
        "dataset_info": [_info(facts, config) for config in configs],
    }
    described = [(config.name, SHAPES[config.name].title, config.rows) for config in configs]
    return fill_template("dataset", card_fields(facts, repo_id, described, licence), metadata)


def _info(facts: DatasetFacts, config: _Config) -> dict[str, Any]:
    """What ``datasets`` writes of a config into a card: its columns, rows and bytes."""
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo

    schema = shape_schema(SHAPES[config.name], facts.stats.reward_parts)
    split = SplitInfo("train", num_bytes=config.arrow_bytes, num_examples=config.rows)
    info = DatasetInfo(
        features=Features.from_arrow_schema(schema),
        splits=SplitDict({"train": split}),
        download_size=sum(file.stat().st_size for file in config.files),
        dataset_size=config.arrow_bytes,
    )
    return {"config_name": config.name, **info._to_yaml_dict()}


def _notes(facts: DatasetFacts, rows: Mapping[str, int], public: bool, private: bool | None) -> list[str]:
    notes = []
    missing = [name for name in CONFIGS if name not in rows]
    if missing:
        notes.append(f"no row for {', '.join(missing)}: left out")
    if not facts.run:
        notes.append("the dataset stands without its run: command, sampling and recipe are not known")
    if public and private:
        notes.append("the repository was private before and stays so: its settings on the Hub change that")
    if private is False and not public:
        notes.append("the repository was public before and stays so: its settings on the Hub change that")
    return notes
