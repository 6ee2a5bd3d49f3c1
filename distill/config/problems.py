"""Where problems come from, how they are put, and who judges."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from distill.config.base import Config
from distill.records import PromptFormat


class ColumnsConfig(Config):
    """Which column of the source holds what; None takes the data card's word, or the usual names.

    A path may be nested: ``other.solution``.
    """

    id: str | None = None
    """A name for the problem that stays the same; without one the row's place is taken."""
    question: str | None = None
    """What is asked."""
    answer: str | None = None
    """The gold answer."""
    options: str | None = None
    """What a multiple-choice question lets choose from."""
    solution: str | None = None
    """A worked solution, which is kept beside the problem."""


class SourceConfig(Config):
    """Where problems come from."""

    name: str = ""
    """A data card's name or path, a JSONL, CSV, TSV or Parquet file, 'owner/name' on the Hub, 'reasoning-gym:TASK'."""
    path: str | None = None
    """A local copy that is read instead of the card's Hub dataset; of a benchmark of several parts, such as AGIEval,
    also a folder with a file named after each part."""
    split: str | None = None
    """A split of the card; None takes 'train' for curation and the card's test split for evaluation."""
    limit: int | None = Field(default=None, ge=1)
    """Take only the first problems of the split."""
    columns: ColumnsConfig = ColumnsConfig()
    answer_after: str | None = None
    """The gold answer is what follows the last of this marker, as in GSM8K's '####'."""
    revision: str | None = None
    """Hub: a commit, branch or tag; None takes the data card's, else what 'main' is when the run begins."""
    config: str | None = None
    """Hub, for 'owner/name': the dataset's configuration."""
    streaming: bool = False
    """Hub: fetch rows as they are read, instead of downloading and keeping the whole dataset first."""
    seed: int = 0
    """reasoning-gym: another seed gives other problems."""
    options: dict[str, Any] = {}
    """reasoning-gym: the task's own options, such as min_digits."""


class VerifierConfig(Config):
    """Who judges a completion; None takes the data card's word."""

    kind: str | None = None
    """A registered verifier or 'pkg.module:function'."""
    markers: tuple[str, ...] | None = None
    """Texts after which this source's completions state their answer, such as '####' or 'A:'."""
    options: dict[str, Any] = {}
    """Policies of judging, such as 'percent' or 'decimal_comma'; docs/verifiers.md lists them."""
    timeout_seconds: float = Field(default=3.0, gt=0)
    """A check that takes longer is ended and the completion counts as unverified."""
    memory_mb: int = Field(default=2048, ge=256)
    """A worker that needs more is ended and the completion counts as unverified."""
    workers: int | None = Field(default=None, ge=1)
    """Worker processes for what the fast path leaves open; None takes one per core, at most 8."""
    audit_fast_path: float = Field(default=0.0, ge=0, le=1)
    """Share of the fast path's decisions that the engine is asked about too; disagreements are reported."""
    cache: str | None = None
    """A file that remembers the engine's verdicts between runs."""
    allow_code: bool = False
    """Let the verifier 'code' run what a model wrote, in a limited process."""
    allow_network: bool = False
    """Let that code run even where this system cannot take the network away from it."""


class PromptConfig(Config):
    """How a problem becomes a prompt; None takes the data card's word."""

    format: PromptFormat | None = None
    """'chat' uses the tokenizer's chat template; 'plain' joins the texts, which base models need."""
    system: str | None = None
    """System message; an empty string sends none."""
    template: str | None = None
    """User message, with the fields '{question}', '{options}' and '{description}' of the task, where one is known."""
    chat_template: str | None = None
    """'chat': a template (Jinja), or a file that holds one, to render with instead of the tokenizer's own."""
