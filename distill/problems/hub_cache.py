"""Rows of Hub datasets that this machine has already: what the datasets library keeps, read without it and offline.

The library keeps a split as Arrow files, ``<cache>/<owner>___<name>/<config>/<version>/<commit>/<name>-<split>.arrow``
or several such files numbered '-00000-of-00002'.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from distill.cards import HubDataset
from distill.errors import DistillError
from distill.problems.rows import Row

COMMIT = re.compile(r"[0-9a-f]{40}")
WORD_BORDER = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def cached_files(hub: HubDataset, hub_split: str) -> list[tuple[str | None, list[Path]]]:
    """The files of every part of a split, (part, files); empty unless all parts are there.

    A pinned revision wants its own commit; of a branch the commit that was stored last is taken.
    """
    found = []
    for part in hub.parts or (None,):
        dataset_id = hub.id if part is None else hub.id.replace("{part}", part)
        config = part if part is not None and dataset_id == hub.id else hub.config
        files = _split_files(dataset_id, config, hub_split, hub.revision)
        if not files:
            return []
        found.append((part, files))
    return found


def cached_commits(hub: HubDataset, hub_split: str) -> list[str]:
    """The commits that ``cached_files`` stand at, one for every part."""
    return [files[0].parent.name for _, files in cached_files(hub, hub_split)]


def cached_rows(hub: HubDataset, hub_split: str) -> Iterator[Row]:
    """The rows of a split, numbered from 1, as ``hub_rows`` gives them.

    Raises:
        DistillError: the split is not in the cache, or a file in it is damaged.
    """
    parts = cached_files(hub, hub_split)
    if not parts:
        raise DistillError(
            f"split '{hub_split}' of '{hub.id}' is not in the cache '{cache_folder()}'",
            hint="datasets.load_dataset puts it there; a local copy (JSON Lines, Parquet, CSV) does as well",
        )
    number = 0
    for part, files in parts:
        for path in files:
            for row in _arrow_rows(path):
                number += 1
                yield number, row if part is None else {hub.part_column: part, **row}


def cache_folder() -> Path:
    """Where the datasets library keeps what it has read, by the variables that it goes by."""
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(os.environ.get("HF_DATASETS_CACHE") or str(Path(home) / "datasets")).expanduser()


def _split_files(dataset_id: str, config: str | None, split: str, revision: str) -> list[Path]:
    commits = [
        commit
        for version in _folders(_config_folder(cache_folder() / _folder_name(dataset_id), config))
        for commit in _folders(version)
        if commit.name == revision or not COMMIT.fullmatch(revision)
    ]
    for commit in sorted(commits, key=lambda path: (path.stat().st_mtime, path.name), reverse=True):
        name = re.compile(rf".+-{re.escape(split)}(-(\d{{5}})-of-(\d{{5}}))?\.arrow")
        files = sorted(path for path in commit.iterdir() if name.fullmatch(path.name))
        found = name.fullmatch(files[0].name) if files else None
        if found is not None and len(files) == int(found[3] or 1):
            return files
    return []


def config_of(file: Path) -> str:
    """The configuration that a file of the cache belongs to."""
    return file.parents[2].name


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []


def _config_folder(dataset: Path, config: str | None) -> Path:
    """The folder of a configuration; where none is named, 'default' or else the only one there is.

    That one is the data set's only one, too, wherever a card names none; of a data set without a card only the library
    can say so.
    """
    found = _folders(dataset)
    names = {folder.name for folder in found}
    return (
        found[0] if config is None and "default" not in names and len(found) == 1 else dataset / (config or "default")
    )


def _folder_name(dataset_id: str) -> str:
    """What the library calls a dataset's folder: an underscore before every word of a name in capitals and smalls.

    >>> _folder_name("walledai/XSTest"), _folder_name("TIGER-Lab/MMLU-Pro"), _folder_name("gsm8k")
    ('walledai___xs_test', 'TIGER-Lab___mmlu-pro', 'gsm8k')
    """
    owner, _, name = dataset_id.rpartition("/")
    snake = WORD_BORDER.sub("_", name).lower()
    return f"{owner}___{snake}" if owner else snake


def _arrow_rows(path: Path) -> Iterator[dict[str, object]]:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DistillError(f"'{path}' cannot be read: {reason}", hint="remove its folder from the cache") from None
