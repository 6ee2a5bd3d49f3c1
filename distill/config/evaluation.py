"""``distill eval``: a student and benchmarks in, a report out."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from distill.config.base import Config, Dtype
from distill.config.curation import RecordedConfig, SamplingConfig
from distill.config.problems import PromptConfig, SourceConfig, VerifierConfig


class ExamplesConfig(Config):
    """Worked examples before each question, as base models need them; a number is short for ``count``."""

    number_is: ClassVar[str] = "count"
    count: int = Field(0, ge=0)
    """How many, of the question's own task or category where there are any."""
    path: str | None = None
    """A file of problems with their solutions, or of rows 'task' and 'prompt' with the examples of each task as text;
    None takes the split that the data card names."""

    @property
    def is_wanted(self) -> bool:
        """True when there are to be any."""
        return self.count > 0 or self.path is not None


class EvalConfig(Config):
    """``distill eval``: a student and benchmarks in, a report with intervals out."""

    model: str = ""
    benchmarks: tuple[str, ...] = ()
    """Names of data cards, or paths; 'arithmetic:ood' picks a split."""
    source: SourceConfig = SourceConfig()
    """Overrules for a local file; only with one benchmark."""
    prompt: PromptConfig = PromptConfig()
    examples: ExamplesConfig = ExamplesConfig()
    verifier: VerifierConfig = VerifierConfig()
    sampling: SamplingConfig = SamplingConfig(num_completions=1, temperature=0.0)
    recorded: RecordedConfig = RecordedConfig()
    """Score the completions of this file, or of all such files of a folder, instead of asking a model."""
    rules: tuple[str, ...] = ()
    """Whose rules are applied beside ours: 'authors', 'lm-eval' and others that a benchmark has."""
    without: tuple[str, ...] | None = None
    """Leave out problems whose question stands in one of these, such as what the model was trained on: cards,
    'card:split' or files. None takes the data card's word."""
    limit: int | None = Field(None, ge=1)
    """Take only the first problems of each benchmark."""
    backend: str = "hf"
    device: str = "auto"
    dtype: Dtype = "auto"
    groups_in_flight: int = Field(128, ge=1)
    """Problems decoded at once."""
    seed: int = 0

    @model_validator(mode="after")
    def _greedy_samples_are_all_the_same(self) -> EvalConfig:
        if self.sampling.num_completions > 1 and self.sampling.temperature == 0:
            raise ValueError(
                "sampling.num_completions > 1 needs sampling.temperature > 0: greedy samples are all the same"
            )
        return self
