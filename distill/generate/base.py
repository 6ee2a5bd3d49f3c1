"""What a backend is: prompts in, whole groups of completions out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from distill import registry
from distill.config import RecordedConfig, SamplingConfig, TeacherConfig
from distill.records import EntropyKind, Group, Problem, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OnProgress: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BoundsOptions:
    """That the entropies of sampled tokens are to be enclosed, see ``distill.generate.topk_bounds``."""

    top_k: int
    """Log-probabilities to ask for of every token."""
    vocabulary: int | None = None
    """Words that the teacher chooses from; None finds out."""


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """Everything a backend is made from; a registered backend takes one of these."""

    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    recorded: RecordedConfig = field(default_factory=RecordedConfig)
    seed: int = 0
    """The run's seed; see ``completion_seed``."""
    inline_entropies: bool = True
    """Whether to measure exact entropies while sampling, where the backend can."""
    bounds: BoundsOptions | None = None
    """What entropies are enclosed by, where the backend can; None leaves it."""


class Backend(Protocol):
    """A source of completions that is opened once, samples any number of times and is closed.

    A backend either returns a problem's group whole or not at all.
    """

    teacher: str
    """Name of the model, or a label."""
    tokenizer: PreTrainedTokenizerBase | None
    """The tokenizer that prompts are rendered with; None where there is none."""
    tokenizer_fingerprint: str
    """Of the tokenizer whose ids the completions carry; empty where that is not known."""
    entropy_kind: EntropyKind
    """What the completions' entropies will be."""
    notes: tuple[str, ...]
    """What a reader of the data should know of how they were sampled; may grow while sampling."""

    def sample(self, items: Iterable[tuple[Problem, Prompt]], on_progress: OnProgress | None = None) -> Iterator[Group]:
        """Yield the group of every item, as soon as it is whole and so in any order.

        ``items`` is read as places become free, never all at once. The completions of a group stand
        in the order of their index. A problem that cannot have any gets a group with
        ``completions=()``: its prompt leaves no room in the model's context, or nothing is recorded
        for it. Nothing is dropped here.

        Args:
            on_progress: called with the number of new tokens, often.
        """
        ...

    def close(self) -> None:
        """Give back memory, files and processes; the backend is not used afterwards."""
        ...


def open_backend(
    teacher: TeacherConfig,
    sampling: SamplingConfig,
    recorded: RecordedConfig,
    seed: int,
    *,
    inline_entropies: bool = True,
    bounds: BoundsOptions | None = None,
) -> Backend:
    """The backend that ``teacher.backend`` names, ready to sample.

    Raises:
        DistillError: there is no such backend, or it cannot start with these options.
    """
    backend: Backend = registry.load("backends", teacher.backend)(
        BackendOptions(teacher, sampling, recorded, seed, inline_entropies, bounds)
    )
    return backend


def completion_seed(run_seed: int, problem_id: str, index: int) -> int:
    """The seed of one completion's generator: 63 bits that depend on nothing but these three.

    >>> completion_seed(0, "gsm8k/1", 0) == completion_seed(0, "gsm8k/1", 1)
    False
    >>> 0 <= completion_seed(0, "gsm8k/1", 0) < 2**63
    True
    """
    text = f"{run_seed}\n{index}\n{problem_id}"
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1
