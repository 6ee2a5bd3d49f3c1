"""``distill train``: a dataset of groups in, a student out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from distill.config.base import Config, Dtype
from distill.config.curation import AdvantagesConfig
from distill.config.problems import PromptConfig


class LoraConfig(Config):
    """Low-rank adapters; leave the section out for full fine-tuning."""

    rank: int = Field(default=64, ge=1)
    """Inner width of the adapters."""
    alpha: float = Field(default=32, gt=0)
    """An adapter's output is multiplied by alpha / rank."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """On the adapters' input while training."""
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    """Names of the linear layers that get an adapter."""


class OptimizerConfig(Config):
    """AdamW and its schedule (defaults: AdvDistill table of hyper-parameters)."""

    learning_rate: float = Field(default=5e-6, gt=0)
    """The largest, after the warm-up. For adapters 1e-4 and more is usual."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of matrices; norms and biases have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """How slowly the means of gradients and of their squares forget."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the mean square."""
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    """Share of all steps over which the learning rate rises from 0."""
    schedule: Literal["cosine", "linear", "step", "constant"] = "cosine"
    """After the warm-up: down to 0 by a half cosine or a line, by ``gamma`` after every epoch, or not at all."""
    gamma: float = Field(default=0.95, gt=0, le=1)
    """Schedule 'step': what the learning rate is multiplied by after every epoch."""
    max_grad_norm: float = Field(default=0.5, gt=0)
    """The AdvDistill text says 1.0, its table 0.5."""

    @field_validator("betas")
    @classmethod
    def _betas_are_shares(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("both should be at least 0 and less than 1")
        return betas


class LossConfig(Config):
    """Options of the losses; docs/methods.md has their equations."""

    normalise: Literal["token", "completion"] = "token"
    """SFT: mean over the step's supervised tokens, or mean of per-completion means."""
    temperature: float = Field(default=0.5, gt=0)
    """AdvDistill: temperature of the softmax that turns advantages into weights."""
    contrastive_weight: float = Field(default=0.5, ge=0)
    """AdvDistill: lambda of the contrastive term."""
    contrastive_reduction: Literal["mean_over_group", "sum", "mean_over_wrong"] = "mean_over_group"
    """AdvDistill: how the wrong completions' terms are reduced over the group."""
    contrastive_weighting: Literal["none", "w_i"] = "none"
    """AdvDistill: whether a wrong completion's term is multiplied by its softmax weight."""
    contrastive_tokens: Literal["kept", "all", "unshared"] = "kept"
    """AdvDistill: which tokens of a wrong completion are pushed away: those that low-entropy masking leaves, all, or of
    those it leaves the ones behind the longest beginning that a correct completion of the group has, too."""
    wrong: Literal["incorrect_or_no_answer", "incorrect", "negative_advantage"] = "incorrect_or_no_answer"
    """AdvDistill: which completions the contrastive term pushes away."""
    max_probability: float = Field(default=0.99, gt=0, lt=1)
    """AdvDistill: the mean probability is clamped to this maximum before the logarithm."""
    mean_probability: Literal["arithmetic", "geometric"] = "arithmetic"
    """AdvDistill: mean of a wrong completion's token probabilities."""
    cross_entropy: Literal["mean", "sum"] = "mean"
    """AdvDistill: token mean or token sum inside a completion."""
    answer_weight: float = Field(default=0.1, ge=0, le=1)
    """Step-by-step, MT-CoT, CasCoD: weight of the answer's task; the rationale's has the rest."""


class MaskConfig(Config):
    """Low-entropy masking (SLowED): a completion's surest tokens are not trained on; a number is ``percent``."""

    number_is = "percent"

    percent: float = Field(default=20, ge=0, le=100)
    """Share of the maskable tokens that is masked, rounded down: those of the lowest entropy."""
    entropy_source: Literal["teacher", "student"] = "teacher"
    """Entropies of the dataset, or of the student in the same forward pass."""
    rank: Literal["sequence", "batch"] = "sequence"
    """One ranking for each completion, or one for all tokens of an optimizer step."""
    normaliser: Literal["kept", "all"] = "kept"
    """Whether the cross entropy is divided by the number of tokens that are left, or of all."""
    scope: Literal["completion", "rationale"] = "completion"
    """Mask anywhere, or only before the final answer begins."""
    mask_end_token: bool = False
    """Let the end token be masked too; its entropy is nearly always among the lowest."""
    teacher_tokenizer: str | None = None
    """Cut the teacher's text into its tokens, for a student that cuts it otherwise; None takes the teacher's own."""


class SlowTuningConfig(Config):
    """Slow Tuning (SLowED): weights go back towards where they started; a number is ``tau``."""

    number_is = "tau"

    tau: float = Field(default=1.0, gt=0, allow_inf_nan=True)
    """Largest Frobenius norm of a weight matrix's change since the start; .inf only measures."""
    scope: Literal["module", "global"] = "module"
    """Hold every matrix to ``tau``, or all of them together."""
    every: Literal["epoch", "step"] = "epoch"
    """When weights go back: before an epoch is saved and evaluated, or after every optimizer step."""
    reset_moments: bool = False
    """Let AdamW forget what it knows of a matrix that had to go back."""


class TrainConfig(Config):
    """``distill train``: a dataset of groups in, a student out."""

    dataset: str = ""
    """A curated dataset's folder, or the run that holds it."""
    model: str = "tiny-student"
    """The base student: a Hub id, a local folder, or 'tiny-student'."""
    method: str = "advdistill"
    """A registered method or 'pkg.module:attribute'."""
    completions_per_group: int | None = Field(default=None, ge=1)
    """Use only the first n completions of every group and recompute their advantages."""
    advantages: AdvantagesConfig = AdvantagesConfig()
    """Used when advantages are recomputed."""
    prompt: PromptConfig = PromptConfig()
    """Overrules the dataset's prompt format when the student re-renders prompts."""
    loss: LossConfig = LossConfig()
    low_entropy_mask: MaskConfig | None = None
    slow_tuning: SlowTuningConfig | None = None
    lora: LoraConfig | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
    epochs: int = Field(default=4, ge=1)
    """Times that every group is trained on."""
    groups_per_step: int = Field(default=16, ge=1)
    """Groups per optimizer step; micro-batches are packed by tokens and never change the mathematics."""
    max_tokens: int = Field(default=2048, ge=2)
    """Longest prompt plus completion."""
    overlong: Literal["truncate", "drop"] = "truncate"
    """What happens to longer rows; a truncated one gets no end token. Both are counted."""
    tokens_per_micro_batch: int = Field(default=8192, ge=1)
    """Tokens of one forward pass, padding counted; changes memory and time alone."""
    packing: Literal["groups", "rows"] = "groups"
    """Read a prompt once for all its completions, without padding, or every completion in a row of its own.

    A model whose attention does not allow the first, such as BLOOM's, is trained in rows all the same.
    """
    parallel: Literal["auto", "replicate", "shard"] = "auto"
    """With several processes: each holds all of the student, or a part of it (FSDP2); adapters are never spread.

    'auto' spreads a student that is trained in full.
    """
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Compute a layer's activations again when its gradients are due; 'auto' where they would not fit the memory.

    'auto' goes by an estimate, which ``distill train --dry-run`` shows. A third more arithmetic.
    """
    device: str = "auto"
    """'auto' takes CUDA where there is one."""
    dtype: Dtype = "auto"
    """Compute type; weights being trained are always float32 masters."""
    validation_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the groups that is held out, by a hash of their ids, and whose loss is measured after every epoch."""
    validate_every: int = Field(default=0, ge=0)
    """Optimizer steps between measurements of that loss in ``metrics.jsonl``; 0 measures after every epoch alone."""
    keep: Literal["last", "best"] = "last"
    """Which student is left at the end: the last, or that of the epoch with the highest accuracy or lowest loss."""
    track: tuple[str, ...] = ()
    """Where numbers are shown beside metrics.jsonl: tensorboard, wandb, trackio, 'pkg.module:attribute'."""
    save_every: int = Field(default=0, ge=0)
    """Optimizer steps between checkpoints; 0 saves at the end of every epoch."""
    max_skipped_steps: int = Field(default=10, ge=1)
    """Stop after this many non-finite steps."""
    seed: int = 0
    """Of the order of groups and of dropout."""

    @property
    def shards(self) -> bool:
        """True when several processes share one copy of the student."""
        return self.lora is None and self.parallel != "replicate"

    @model_validator(mode="after")
    def _what_is_measured_is_held_out(self) -> TrainConfig:
        if self.validate_every and not self.validation_share:
            raise ValueError("validate_every measures groups that are held out: set validation_share, such as 0.05")
        return self

    @model_validator(mode="after")
    def _adapters_are_not_spread(self) -> TrainConfig:
        if self.lora is not None and self.parallel == "shard":
            raise ValueError("lora adapters are trained by processes that each hold the student: parallel: replicate")
        return self

    @model_validator(mode="before")
    @classmethod
    def _slowed_is_both_guards(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("method") == "slowed":
            guards = ("low_entropy_mask", "slow_tuning")
            return values | {name: {} for name in guards if values.get(name) is None}
        return values
