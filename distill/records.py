"""The records that travel between rooms: a problem, its prompt, its completions, what was said of them.

The group is the atom: one problem with all its completions. Position ``t`` of every per-token
list of a completion is about the same token: ``logprobs[t]`` and ``entropies[t]`` belong to the
distribution that emitted ``token_ids[t]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypedDict

PromptFormat = Literal["chat", "plain"]
EntropyKind = Literal["exact", "topk_bounds", "none"]
FinishReason = Literal["stop", "length", "unknown"]


class Message(TypedDict):
    """One turn of a prompt."""

    role: str
    content: str


class Outcome(StrEnum):
    """The one word of a verdict."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    NO_ANSWER = "no_answer"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says of one completion.

    >>> Verdict(Outcome.CORRECT).score, Verdict(Outcome.NO_ANSWER).score, Verdict(Outcome.UNVERIFIED).score
    (1.0, 0.0, None)
    """

    outcome: Outcome
    answer: str | None = None
    """The answer as extracted from the completion, before any normalising."""
    reason: str = ""
    """Why this outcome: a code such as 'string', 'number', 'engine', 'no_marker', 'truncated', 'timeout'."""
    tier: str = ""
    """Where the answer stood: 'boxed', 'marker', 'json', 'loose' ..."""
    layer: str = ""
    """Which layer decided: 'string', 'number', 'words', 'engine'."""

    @property
    def score(self) -> float | None:
        """1.0 for correct, 0.0 for incorrect and no_answer, None for unverified."""
        return None if self.outcome is Outcome.UNVERIFIED else float(self.outcome is Outcome.CORRECT)


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its gold answer, before any model has seen it."""

    id: str
    question: str
    answer: str
    source: str = ""
    verifier: str = "math"
    index: int = 0
    """Place in the source; the dataset keeps this order whatever finished first."""
    options: tuple[str, ...] = ()
    solution: str = ""
    metadata: str = "{}"
    """A JSON object as text: category, task, seed id, number of steps ..."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is put to the model: the messages, the text they render to and exactly the ids that are read."""

    messages: tuple[Message, ...]
    format: PromptFormat
    text: str
    token_ids: tuple[int, ...] = ()
    """Empty when no tokenizer is at hand (recorded completions that bring their own token counts)."""
    opens_think: bool = False
    """True when the rendered prompt ends inside an open <think>, which then counts as the completion's own."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after the prompt.

    ``token_ids`` (and all per-token lists) include the end token when ``finish_reason`` is "stop";
    ``text`` never does.

    >>> Completion("4", token_ids=(7, 2), finish_reason="stop").num_tokens
    2
    """

    text: str
    token_ids: tuple[int, ...] = ()
    num_tokens: int = -1
    """Tokens of the completion; derived from ``token_ids`` where those are known, -1 where nothing is."""
    logprobs: tuple[float, ...] | None = None
    """Natural log-probability of each token under the teacher's raw distribution (temperature 1)."""
    entropies: tuple[float, ...] | None = None
    """Shannon entropy in nats of the teacher's raw distribution that emitted each token."""
    entropy_lower: tuple[float, ...] | None = None
    """Bounds of these entropies where only a token's largest log-probabilities are known; with ``entropy_upper``."""
    entropy_upper: tuple[float, ...] | None = None
    finish_reason: FinishReason = "stop"
    seed: int | None = None
    model: str = ""
    think_opened: bool = False
    """True when the prompt had already opened <think>."""

    def __post_init__(self) -> None:
        if self.token_ids:
            object.__setattr__(self, "num_tokens", len(self.token_ids))


@dataclass(frozen=True, slots=True)
class Group:
    """All completions of one problem, as a backend returns them."""

    problem: Problem
    prompt: Prompt
    completions: tuple[Completion, ...]
    teacher: str = ""
    tokenizer_fingerprint: str = ""
    entropy_kind: EntropyKind = "none"
    error: str = ""
    """Why the backend has no completions for this problem and another try might have some; empty when all is well."""


@dataclass(frozen=True, slots=True)
class GroupScores:
    """What scoring adds to a group; every tuple is parallel to the group's completions.

    A part, reward or advantage of ``None`` means not applicable: an unverified completion has none.
    """

    verdicts: tuple[Verdict, ...]
    rewards: tuple[float | None, ...]
    advantages: tuple[float | None, ...]
    reward_parts: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    drop_reason: str = ""
    """Why the group is not trained on; empty when it is kept."""

    @property
    def kept(self) -> bool:
        """True when the group is trained on and exported."""
        return not self.drop_reason
