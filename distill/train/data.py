"""A curated dataset -> groups of token ids and judgements, as the student is trained on them.

Kept groups only. Tokens lie in flat arrays, four bytes each, and a group is a view of them: sixty
thousand completions of 500 tokens are 120 MB. Everything that is left out is counted under its reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.advantages import group_advantages
from distill.config import TrainConfig
from distill.errors import DistillError
from distill.packing.layout import GroupTokens
from distill.records import Outcome
from distill.schema import check_dataset, damaged_dataset
from distill.train import ReportProgress, silent
from distill.train.losses.base import JudgedGroup, Method

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from datasets import Dataset

    from distill.train.encode import StudentEncoder

    TokenIds = npt.NDArray[np.int32]

OUTCOMES = tuple(Outcome)
ROWS_AT_ONCE = 64
COLUMNS = (
    "id", "kept", "source", "question", "options", "prompt", "prompt_format", "prompt_text", "prompt_ids",
    "prompt_opens_think", "completions", "completion_ids", "finish_reasons", "tokenizer_fingerprint", "outcomes",
    "rewards", "advantages",
)  # fmt: skip


@dataclass(slots=True)
class DataCounts:
    """What became of the dataset's rows."""

    groups_in_dataset: int = 0
    groups_not_kept: int = 0
    """Dropped by curation."""
    groups_without_correct: int = 0
    """Every correct completion was left out, by ``completions_per_group`` or for its length."""
    groups_not_selected: int = 0
    """The method found no completion to train on."""
    groups: int = 0
    """Trained on."""
    completions: int = 0
    """Trained on."""
    tokens: int = 0
    """Supervised tokens of the trained completions, once each."""
    completions_truncated: int = 0
    """Trained on without their end, which went beyond ``max_tokens``."""
    completions_overlong: int = 0
    """Left out because prompt and completion exceed ``max_tokens``."""
    groups_encoded_again: int = 0
    """Rendered or tokenised again, because the student reads other token ids than the teacher wrote."""


@dataclass(frozen=True, slots=True)
class TrainData:
    """G groups with C trained completions; group g holds completions ``group_starts[g]`` to ``group_starts[g + 1]``."""

    ids: tuple[str, ...]
    run_id: str
    prompt_ids: TokenIds
    """The prompts of all groups, one after the other."""
    prompt_starts: npt.NDArray[np.int64]
    """(G + 1,)"""
    completion_ids: TokenIds
    """All completions, one after the other."""
    completion_starts: npt.NDArray[np.int64]
    """(C + 1,)"""
    group_starts: npt.NDArray[np.int64]
    """(G + 1,)"""
    advantages: npt.NDArray[np.float64]
    """(C,), NaN where there is none."""
    outcomes: npt.NDArray[np.uint8]
    """(C,), positions in ``OUTCOMES``."""
    counts: DataCounts

    def __len__(self) -> int:
        return len(self.ids)

    def tokens(self, group: int) -> GroupTokens:
        """Prompt and completions of a group, as views."""
        prompt_start, prompt_end = self.prompt_starts[group : group + 2]
        starts = self.completion_starts[self.group_starts[group] : self.group_starts[group + 1] + 1]
        completions = [self.completion_ids[a:b] for a, b in pairwise(starts)]
        return GroupTokens(self.prompt_ids[prompt_start:prompt_end], completions)

    def judged(self, group: int) -> JudgedGroup:
        """What curation said of a group's completions."""
        own = slice(self.group_starts[group], self.group_starts[group + 1])
        starts = self.completion_starts[own.start : own.stop + 1]
        return JudgedGroup(
            tuple(None if math.isnan(value) else value for value in self.advantages[own].tolist()),
            tuple(OUTCOMES[code] for code in self.outcomes[own].tolist()),
            tuple((starts[1:] - starts[:-1]).tolist()),
        )

    def largest_id(self) -> int:
        """The largest token id of all prompts and completions."""
        return int(max(self.prompt_ids.max(), self.completion_ids.max()))

    def digest(self) -> str:
        """A short hash of what is learnt: completions, advantages, outcomes and the groups' ids.

        Prompts are left out. They follow from the dataset and the recipe, and a chat template may print
        today's date into them, which is no reason to refuse to resume tomorrow.
        """
        digest = blake2b("\0".join(self.ids).encode(), digest_size=8)
        for values in (self.completion_ids, self.completion_starts, self.group_starts, self.advantages, self.outcomes):
            digest.update(values.tobytes())
        return digest.hexdigest()


@dataclass(slots=True)
class _Rows:
    """Lists that grow row by row until they become the arrays of ``TrainData``."""

    ids: list[str] = field(default_factory=list)
    prompts: list[TokenIds] = field(default_factory=list)
    completions: list[TokenIds] = field(default_factory=list)
    group_sizes: list[int] = field(default_factory=list)
    advantages: list[float] = field(default_factory=list)
    outcomes: list[int] = field(default_factory=list)


def open_dataset(path: Path) -> Dataset:
    """The Arrow dataset in a folder, or in the run that the folder is.

    Raises:
        DistillError: the folder is something else; the message says what.
    """
    from datasets import load_from_disk

    folder = path / "dataset" if (path / "dataset").is_dir() else path
    if not ((folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()):
        raise DistillError(f"'{path}' {_what_it_is(path)}", hint="name the folder that 'distill curate' wrote")
    try:
        dataset: Any = load_from_disk(str(folder))
        versions = dataset.unique("schema_version") if "schema_version" in dataset.column_names else []
    except PermissionError:
        raise
    except (ValueError, LookupError, TypeError, OSError) as error:  # what json and pyarrow say of broken files
        raise damaged_dataset(folder, error) from error
    check_dataset(dataset.column_names, versions, f"'{path}'")
    return dataset


def _what_it_is(path: Path) -> str:
    """The end of a sentence that begins with a path which is no dataset."""
    if not path.exists():
        return "does not exist"
    if path.is_file():
        return "is a file, a curated dataset is a folder"
    if (path / "dataset_dict.json").is_file():
        return "holds several splits, a curated dataset is one of them"
    if (path / "metrics.jsonl").is_file():
        return "is a training run, not a curated dataset"
    if (path / "run.json").is_file():
        return "is a run without a dataset: its curation is not finished"
    if (path / "config.json").is_file():
        return "is a model, not a curated dataset"
    names = sorted(entry.name for entry in path.iterdir())[:5]
    return f"is not a curated dataset; it holds {', '.join(names) or 'nothing'}"


def read_training_data(
    dataset: Dataset,
    config: TrainConfig,
    encoder: StudentEncoder,
    method: Method,
    progress: ReportProgress = silent,
) -> TrainData:
    """The groups of a dataset that a method trains on.

    In this order: groups that curation kept; their first ``completions_per_group`` completions, with
    advantages of their own; completions that fit ``max_tokens`` (or all, with ``overlong: truncate``);
    groups that still have a correct completion; what the method selects.

    Raises:
        DistillError: nothing is left, or a selected completion has no token to learn.
    """
    counts, rows = DataCounts(), _Rows()
    for row in _iterate(dataset):
        progress("read", 1, len(dataset))
        counts.groups_in_dataset += 1
        if not row["kept"]:
            counts.groups_not_kept += 1
            continue
        _add_group(row, config, encoder, method, rows, counts)
    if not rows.ids:
        raise DistillError(
            f"'{config.dataset}' has no group to train on with method '{config.method}': "
            f"{counts.groups_in_dataset} groups, {counts.groups_not_kept} of them not kept",
            hint="'distill inspect' shows why groups were dropped",
        )
    return _as_arrays(rows, str(dataset[0]["run_id"]), counts)


def _iterate(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Rows with plain Python values, but for the token ids, which stay int32 arrays."""
    chosen: Any = dataset.select_columns(list(COLUMNS)).with_format("arrow")
    for table in chosen.iter(batch_size=ROWS_AT_ONCE):
        prompt_ids, completion_ids = table["prompt_ids"], table["completion_ids"]
        plain = table.drop_columns(["prompt_ids", "completion_ids"]).to_pylist()
        for i, row in enumerate(plain):
            row["prompt_ids"] = prompt_ids[i].values.to_numpy()
            row["completion_ids"] = [ids.values.to_numpy() for ids in completion_ids[i]]
            yield row


def _add_group(
    row: dict[str, Any], config: TrainConfig, encoder: StudentEncoder, method: Method, rows: _Rows, counts: DataCounts
) -> None:
    """Append what is trained on of one kept row, or count why nothing is."""
    judged = _judged(row, config)
    encoded = encoder.encode(row, len(judged))
    counts.groups_encoded_again += encoded.again
    room = config.max_tokens - len(encoded.prompt_ids)
    fitting = [i for i, ids in enumerate(encoded.completion_ids) if len(ids) <= room or config.overlong == "truncate"]
    counts.completions_overlong += len(judged) - len(fitting)
    completions = [encoded.completion_ids[i] for i in fitting]
    judged = JudgedGroup(
        tuple(judged.advantages[i] for i in fitting),
        tuple(judged.outcomes[i] for i in fitting),
        tuple(min(len(ids), max(room, 0)) for ids in completions),
    )
    if Outcome.CORRECT in row["outcomes"] and Outcome.CORRECT not in judged.outcomes:
        # The best of its wrong completions would be imitated. One that never had a right one was kept on purpose.
        counts.groups_without_correct += 1
        return
    selected = method.select(judged)
    if not selected:
        counts.groups_not_selected += 1
        return
    for i in selected:
        if not judged.completion_lengths[i]:
            raise _nothing_to_learn(row["id"], fitting[i], len(encoded.prompt_ids), config)
        counts.completions_truncated += len(completions[i]) > room
        rows.completions.append(completions[i][: judged.completion_lengths[i]])
        advantage = judged.advantages[i]
        rows.advantages.append(math.nan if advantage is None else advantage)
        rows.outcomes.append(OUTCOMES.index(judged.outcomes[i]))
    rows.ids.append(row["id"])
    rows.prompts.append(encoded.prompt_ids)
    rows.group_sizes.append(len(selected))


def _judged(row: dict[str, Any], config: TrainConfig) -> JudgedGroup:
    """Advantages and outcomes of the completions that count, which have no tokens yet."""
    outcomes = tuple(Outcome(outcome) for outcome in row["outcomes"])
    first = config.completions_per_group or len(outcomes)
    if first >= len(outcomes):
        return JudgedGroup(tuple(row["advantages"]), outcomes, (0,) * len(outcomes))
    advantages = group_advantages(row["rewards"][:first], eps=config.advantages.eps, ddof=config.advantages.ddof)
    return JudgedGroup(advantages, outcomes[:first], (0,) * first)


def _nothing_to_learn(group_id: str, completion: int, prompt_tokens: int, config: TrainConfig) -> DistillError:
    if prompt_tokens >= config.max_tokens:
        return DistillError(
            f"group '{group_id}' has a prompt of {prompt_tokens} tokens, which leaves nothing of max_tokens "
            f"{config.max_tokens} for its completions",
            hint="raise max_tokens, or leave such rows out with overlong 'drop'",
        )
    return DistillError(
        f"completion {completion} of group '{group_id}' has no token to learn: its text is empty",
        hint="drop the group with a filter in curation, or train with a method that does not select it",
    )


def _as_arrays(rows: _Rows, run_id: str, counts: DataCounts) -> TrainData:
    import numpy as np

    counts.groups, counts.completions = len(rows.ids), len(rows.completions)
    counts.tokens = sum(len(ids) for ids in rows.completions)
    return TrainData(
        ids=tuple(rows.ids),
        run_id=run_id,
        prompt_ids=np.concatenate(rows.prompts),
        prompt_starts=_starts([len(ids) for ids in rows.prompts]),
        completion_ids=np.concatenate(rows.completions),
        completion_starts=_starts([len(ids) for ids in rows.completions]),
        group_starts=_starts(rows.group_sizes),
        advantages=np.array(rows.advantages, dtype=np.float64),
        outcomes=np.array(rows.outcomes, dtype=np.uint8),
        counts=counts,
    )


def _starts(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    """Where each part begins, and where the last one ends."""
    import numpy as np

    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
