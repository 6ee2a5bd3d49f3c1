"""Rows of datasets on the Hugging Face Hub, at a commit that does not change under a run.

The datasets library, when the Hub cannot be reached, reads whatever commit of a dataset it kept last. Here a commit
that was asked for is what is read, or nothing is.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from distill.cards import HubDataset
from distill.errors import DistillError
from distill.problems.hub_cache import COMMIT, cache_folder, cached_commits, cached_files, config_of
from distill.problems.rows import Row
from distill.registry import did_you_mean

if TYPE_CHECKING:
    from datasets import DatasetBuilder

ASK_SECONDS = 30
LOCAL_COPY = "without network read a local copy (JSON Lines, Parquet, CSV): --set source.path=FILE"


def is_commit(revision: str) -> bool:
    """Whether a revision is a whole commit id, which stands for the same bytes for ever."""
    return COMMIT.fullmatch(revision) is not None


def pinned_commit(hub: HubDataset, hub_split: str) -> str:
    """The commit that a dataset's revision stands for now; without the Hub, the one that this machine has of it.

    Raises:
        DistillError: there is no such dataset or revision, or neither the Hub nor the cache can say.
    """
    if is_commit(hub.revision):
        return hub.revision
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        commit = HfApi().dataset_info(hub.id, revision=hub.revision, timeout=ASK_SECONDS).sha
    except HFValidationError as error:
        raise DistillError(
            f"'{hub.id}' can be no dataset's name: {_first_line(error)}",
            hint="if a file is meant, name it with its ending",
        ) from None
    except RepositoryNotFoundError:
        raise DistillError(
            f"the Hub has no dataset '{hub.id}' that you may read",
            hint="if it is private or gated, log in with 'hf auth login'; if a file is meant, name it with its ending",
        ) from None
    except RevisionNotFoundError:
        raise DistillError(
            f"dataset '{hub.id}' has no revision '{hub.revision}'", hint="name a branch, a tag or a whole commit id"
        ) from None
    except _connection_failures() as error:
        commits = set(cached_commits(hub, hub_split)) if hub.revision == "main" else set()
        if len(commits) == 1:
            return commits.pop()
        raise DistillError(
            f"the Hub cannot be asked for the commit of '{hub.id}': {_first_line(error)}",
            hint=f"{LOCAL_COPY}, or name a commit that is in '{cache_folder()}' with --set source.revision=COMMIT",
        ) from None
    if commit is None:
        raise DistillError(f"the Hub names no commit of '{hub.id}'", hint="--set source.revision=COMMIT names one")
    return commit


def hub_rows(hub: HubDataset, hub_split: str, *, streaming: bool = False) -> Generator[Row, None, None]:
    """The rows of a Hub dataset's split, all parts one after the other.

    Args:
        streaming: fetch rows one by one instead of downloading (and keeping) the whole dataset.

    Raises:
        DistillError: the Hub cannot be reached, or has no such dataset, configuration or split.
    """
    number = 0
    for part in hub.parts or (None,):
        dataset_id = hub.id if part is None else hub.id.replace("{part}", part)
        config = part if part is not None and dataset_id == hub.id else hub.config
        one = HubDataset(id=dataset_id, config=config, revision=hub.revision)
        with _failures_explained(one, hub_split):
            for row in _dataset_rows(one, hub_split, streaming):
                number += 1
                yield number, row if part is None else {hub.part_column: part, **row}


def _dataset_rows(hub: HubDataset, split: str, streaming: bool) -> Iterator[dict[str, Any]]:
    import datasets

    kept = cached_files(hub, split) if is_commit(hub.revision) else []
    if kept and config_of(kept[0][1][0]) == (hub.config or "default"):
        for path in kept[0][1]:
            yield from datasets.Dataset.from_file(str(path))
        return
    builder = _builder(hub)
    streams = builder.as_streaming_dataset()
    if split not in streams:
        raise DistillError(
            f"dataset '{_name(hub)}' has no split '{split}'",
            hint=f"{did_you_mean(split, [str(name) for name in streams])}; --set source.split=NAME names one",
        )
    if streaming:
        yield from streams[split]
        return
    builder.download_and_prepare()
    yield from builder.as_dataset(split=split)


def _builder(hub: HubDataset) -> DatasetBuilder:
    """The library's reader of a dataset, at the commit that is asked for."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(hub.id, hub.config, revision=hub.revision)
    except ValueError:
        configs = datasets.get_dataset_config_names(hub.id, revision=hub.revision)
        if hub.config in configs:
            raise
        found = f"no configuration '{hub.config}'" if hub.config else "several configurations"
        hint = did_you_mean(hub.config or "", configs)
        raise DistillError(
            f"dataset '{hub.id}' has {found}", hint=f"{hint}; --set source.config=NAME names one"
        ) from None
    if is_commit(hub.revision) and builder.hash != hub.revision:
        raise DistillError(
            f"the Hub cannot be reached, and commit '{hub.revision}' of '{_name(hub)}' is not in '{cache_folder()}'",
            hint=LOCAL_COPY,
        )
    return builder


@contextmanager
def _failures_explained(hub: HubDataset, split: str) -> Iterator[None]:
    import datasets

    failures = (ValueError, RuntimeError, datasets.exceptions.DatasetsError, *_connection_failures())
    client = logging.getLogger("huggingface_hub")  # warns of every retry; what became of them all is said once, below
    level = client.level
    client.setLevel(logging.ERROR)
    try:
        yield
    except failures as error:
        raise DistillError(
            f"split '{split}' of '{_name(hub)}' cannot be read from the Hub: {_first_line(error)}", hint=LOCAL_COPY
        ) from None
    finally:
        client.setLevel(level)


def _connection_failures() -> tuple[type[Exception], ...]:
    """OSError, and the error of the HTTP client that this huggingface_hub stands on: the bases of its own."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, *(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)))


def _name(hub: HubDataset) -> str:
    return f"{hub.id} ({hub.config})" if hub.config else hub.id


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
