"""``distill eval``: a student and benchmarks in, a report out."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from distill.config.base import Config, Dtype, without_nulls
from distill.config.curation import RecordedConfig, SamplingConfig, ServingConfig, TeacherConfig
from distill.config.problems import PromptConfig, SourceConfig, VerifierConfig


class ExamplesConfig(Config):
    """Worked examples before each question, as base models need them; a number is short for ``count``."""

    number_is: ClassVar[str] = "count"
    count: int = Field(default=0, ge=0)
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
    """A Hub id, a local folder, the folder of a training run, or 'tiny-student'."""
    benchmarks: tuple[str, ...] = ()
    """Names of data cards, or paths; 'arithmetic:ood' picks a split."""
    source: SourceConfig = SourceConfig()
    """Overrules for a local file; only with one benchmark."""
    paths: dict[str, str] = {}
    """Local copies of benchmarks, card -> file; also of cards that ``without`` names."""
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
    via: Literal["lm-eval"] | None = None
    """'lm-eval' has lm-evaluation-harness run its log-likelihood tasks; ``benchmarks`` are then its tasks."""
    limit: int | None = Field(default=None, ge=1)
    """Take only the first problems of each benchmark."""
    backend: str = "hf"
    """A registered backend or 'pkg.module:attribute'."""
    device: str = "auto"
    """'auto' takes CUDA where there is one."""
    dtype: Dtype = "auto"
    """'auto' is bfloat16 on CUDA and float32 on the CPU."""
    groups_in_flight: int = Field(default=128, ge=1)
    """Problems decoded at once."""
    serving: ServingConfig = ServingConfig()
    """For the backends 'server' and 'vllm'."""
    seed: int = 0
    """A completion's generator is seeded from (seed, problem id, index of the completion)."""

    @field_validator("paths", mode="before")
    @classmethod
    def _null_removes_a_path(cls, paths: Any) -> Any:
        return without_nulls(paths)

    @model_validator(mode="after")
    def _greedy_samples_are_all_the_same(self) -> EvalConfig:
        if self.sampling.num_completions > 1 and self.sampling.temperature == 0:
            raise ValueError(
                "sampling.num_completions > 1 needs sampling.temperature > 0: greedy samples are all the same"
            )
        return self

    def teacher(self, model: str) -> TeacherConfig:
        """What a backend is opened with to run this model."""
        return TeacherConfig(
            model=model,
            backend=self.backend,
            device=self.device,
            dtype=self.dtype,
            groups_in_flight=self.groups_in_flight,
            **self.serving.model_dump(),
        )
