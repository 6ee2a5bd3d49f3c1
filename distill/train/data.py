"""What a student is trained on: groups of token ids and judgements.

Tokens lie in flat arrays, four bytes each, and a group is a view of them: sixty thousand completions of 500 tokens
are 120 MB. What masking needs, five more bytes for each token, is there only when something is masked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from distill.packing.layout import GroupTokens
from distill.records import Outcome
from distill.train.losses.base import JudgedGroup

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    TokenIds: TypeAlias = npt.NDArray[np.int32]
    Starts: TypeAlias = npt.NDArray[np.int64]

OUTCOMES = tuple(Outcome)


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
    completions_without_answer: int = 0
    """Left out because a method that teaches rationale and answer apart found no final answer in them."""
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
class MaskData:
    """What low-entropy masking knows of all completions' tokens; the arrays are parallel to ``completion_ids``."""

    is_maskable: npt.NDArray[np.bool_]
    """False for end tokens, and for whatever else is always trained on."""
    entropies: npt.NDArray[np.float32] | None
    """Of the teacher, in nats; None when the student's own decide."""


@dataclass(frozen=True, slots=True)
class TrainData:
    """G groups with C trained completions; group g holds completions ``group_starts[g]`` to ``group_starts[g + 1]``."""

    ids: tuple[str, ...]
    run_id: str
    prompt_ids: TokenIds
    """The prompts of all groups, one after the other."""
    prompt_starts: Starts
    """(G + 1,)"""
    completion_ids: TokenIds
    """All completions, one after the other."""
    completion_starts: Starts
    """(C + 1,)"""
    context_lengths: Starts
    """(C,) first tokens of each completion that are read and not learnt; 0 but for methods that teach in parts."""
    group_starts: Starts
    """(G + 1,)"""
    advantages: npt.NDArray[np.float64]
    """(C,), NaN where there is none."""
    outcomes: npt.NDArray[np.uint8]
    """(C,), positions in ``OUTCOMES``."""
    counts: DataCounts
    mask: MaskData | None = None
    """None when nothing is masked."""

    def __len__(self) -> int:
        return len(self.ids)

    def tokens(self, group: int) -> list[GroupTokens]:
        """What is read of a group, as views: one prompt with all its completions.

        Where completions are read and not learnt at first, every one with a prompt of its own, to which that belongs.
        """
        import numpy as np

        prompt_start, prompt_end = self.prompt_starts[group : group + 2]
        prompt_ids, contexts = self.prompt_ids[prompt_start:prompt_end], self._contexts(group)
        completions = [self.completion_ids[start:end] for start, end in self._places(group)]
        if not any(contexts):
            return [GroupTokens(prompt_ids, completions)]
        return [
            GroupTokens(np.concatenate([prompt_ids, ids[:context]]), (ids[context:],))
            for ids, context in zip(completions, contexts, strict=True)
        ]

    def learnt(self, values: npt.NDArray[Any], group: int) -> list[npt.NDArray[Any]]:
        """Of an array parallel to ``completion_ids``, the values of what each of a group's completions teaches."""
        places = zip(self._places(group), self._contexts(group), strict=True)
        return [values[start + context : end] for (start, end), context in places]

    def judged(self, group: int) -> JudgedGroup:
        """What curation said of a group's completions."""
        own = slice(self.group_starts[group], self.group_starts[group + 1])
        completions = self.learnt(self.completion_ids, group)
        outcomes = tuple(OUTCOMES[code] for code in self.outcomes[own].tolist())
        return JudgedGroup(
            tuple(None if math.isnan(value) else value for value in self.advantages[own].tolist()),
            outcomes,
            tuple(map(len, completions)),
            shared_lengths=shared_lengths(completions, outcomes),
        )

    def largest_id(self) -> int:
        """The largest token id of all prompts and completions."""
        return int(max(self.prompt_ids.max(), self.completion_ids.max()))

    def digest(self) -> str:
        """A short hash of what is learnt: completions, advantages, outcomes, what is masked and the groups' ids.

        Prompts are left out. They follow from the dataset and the recipe, and a chat template may print
        today's date into them, which is no reason to refuse to resume tomorrow.
        """
        digest = blake2b("\0".join(self.ids).encode(), digest_size=8)
        arrays: list[npt.NDArray[Any]] = [
            self.completion_ids,
            self.completion_starts,
            self.group_starts,
            self.advantages,
            self.outcomes,
        ]
        if self.context_lengths.any():
            arrays.append(self.context_lengths)
        if self.mask is not None:
            arrays += [array for array in (self.mask.is_maskable, self.mask.entropies) if array is not None]
        for values in arrays:
            digest.update(values.tobytes())
        return digest.hexdigest()

    def _places(self, group: int) -> list[tuple[int, int]]:
        """Where each of a group's completions begins and ends."""
        starts = self.completion_starts[self.group_starts[group] : self.group_starts[group + 1] + 1]
        return list(pairwise(starts.tolist()))

    def _contexts(self, group: int) -> list[int]:
        contexts: list[int] = self.context_lengths[self.group_starts[group] : self.group_starts[group + 1]].tolist()
        return contexts


def shared_lengths(completions: Sequence[npt.NDArray[Any]], outcomes: Sequence[Outcome]) -> tuple[int, ...]:
    """How many first tokens each completion has in common with that other, correct one that it follows longest.

    >>> import numpy as np
    >>> right, wrong = Outcome.CORRECT, Outcome.INCORRECT
    >>> shared_lengths([np.array(ids) for ids in ([1, 2, 3], [1, 2, 4, 5], [1, 2, 3])], [right, wrong, wrong])
    (0, 2, 3)
    """
    correct = [place for place, outcome in enumerate(outcomes) if outcome is Outcome.CORRECT]
    return tuple(
        max((_common(ids, completions[other]) for other in correct if other != place), default=0)
        for place, ids in enumerate(completions)
    )


def _common(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> int:
    """Length of the longest common beginning."""
    import numpy as np

    length = min(len(left), len(right))
    differs = np.flatnonzero(left[:length] != right[:length])
    return int(differs[0]) if len(differs) else length


@dataclass(slots=True)
class GrowingData:
    """Lists that grow row by row until they become the arrays of ``TrainData``."""

    counts: DataCounts = field(default_factory=DataCounts)
    ids: list[str] = field(default_factory=list)
    prompts: list[TokenIds] = field(default_factory=list)
    completions: list[TokenIds] = field(default_factory=list)
    contexts: list[int] = field(default_factory=list)
    group_sizes: list[int] = field(default_factory=list)
    advantages: list[float] = field(default_factory=list)
    outcomes: list[int] = field(default_factory=list)
    is_maskable: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    """Parallel to ``completions``, or empty."""
    entropies: list[npt.NDArray[np.float32]] = field(default_factory=list)
    """Parallel to ``completions``, or empty."""

    def add_completion(
        self, context_ids: Sequence[int], ids: TokenIds, advantage: float | None, outcome: Outcome
    ) -> None:
        """Append what is read and what is learnt of a completion of the group that is being built."""
        import numpy as np

        self.completions.append(np.concatenate([np.array(context_ids, dtype=np.int32), ids]) if context_ids else ids)
        self.contexts.append(len(context_ids))
        self.advantages.append(math.nan if advantage is None else advantage)
        self.outcomes.append(OUTCOMES.index(outcome))

    def finish(self, run_id: str) -> TrainData:
        """The arrays."""
        import numpy as np

        counts, num_learnt = self.counts, sum(len(ids) for ids in self.completions) - sum(self.contexts)
        counts.groups, counts.completions, counts.tokens = len(self.ids), len(self.completions), num_learnt
        mask = None
        if self.is_maskable:
            entropies = np.concatenate(self.entropies) if self.entropies else None
            mask = MaskData(np.concatenate(self.is_maskable), entropies)
        return TrainData(
            ids=tuple(self.ids),
            run_id=run_id,
            prompt_ids=np.concatenate(self.prompts),
            prompt_starts=_starts([len(ids) for ids in self.prompts]),
            completion_ids=np.concatenate(self.completions),
            completion_starts=_starts([len(ids) for ids in self.completions]),
            context_lengths=np.array(self.contexts, dtype=np.int64),
            group_starts=_starts(self.group_sizes),
            advantages=np.array(self.advantages, dtype=np.float64),
            outcomes=np.array(self.outcomes, dtype=np.uint8),
            counts=counts,
            mask=mask,
        )


def _starts(lengths: Sequence[int]) -> Starts:
    """Where each part begins, and where the last one ends."""
    import numpy as np

    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
