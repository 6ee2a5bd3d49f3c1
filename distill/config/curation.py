"""``distill curate``: problems in, scored groups out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from distill.config.base import Config, Dtype, without_nulls
from distill.config.problems import PromptConfig, SourceConfig, VerifierConfig

# Of vLLM's: where and how fast it computes. A run that ran out of memory goes on with others.
ENGINE_OPTIONS_WITHOUT_EFFECT = {
    "tensor_parallel_size", "pipeline_parallel_size", "distributed_executor_backend", "gpu_memory_utilization",
    "kv_cache_memory_bytes", "cpu_offload_gb", "block_size", "max_num_seqs", "max_num_batched_tokens", "enforce_eager",
    "enable_prefix_caching", "stream_interval", "disable_log_stats", "use_tqdm_on_load", "load_format", "download_dir",
}  # fmt: skip


class ModelConfig(Config):
    """A model and where it runs."""

    model: str = "tiny-teacher"
    """A Hub id, a local folder, or 'tiny-teacher'; for the recorded backend a label."""
    backend: str = "hf"
    """A registered backend or 'pkg.module:attribute'."""
    device: str = "auto"
    """'auto' takes CUDA where there is one."""
    dtype: Dtype = "auto"
    """'auto' is bfloat16 on CUDA and float32 on the CPU."""
    groups_in_flight: int = Field(default=16, ge=1)
    """Groups decoded at once; does not change what is sampled on a fixed platform's arithmetic, only speed."""


class ServingConfig(Config):
    """What backends other than transformers need: where servers stand, how vLLM's engine is made."""

    base_urls: tuple[str, ...] = ()
    """Backend 'server': addresses of OpenAI-compatible servers of the model, such as 'http://localhost:8000/v1'."""
    api_key_env: str = "OPENAI_API_KEY"
    """Backend 'server': the environment variable that holds the API key; the key itself is never written anywhere."""
    tokenizer: str | None = None
    """Backend 'server': renders prompts here and sends token ids; None sends messages, or plain text."""
    request_timeout_seconds: float = Field(default=1800, gt=0)
    """Backend 'server': a request that takes longer is sent again; all completions of a group are one request."""
    max_retries: int = Field(default=5, ge=0)
    """Backend 'server': times a request is sent again after a server's failure before its problem counts as failed."""
    patience_seconds: float = Field(default=600, gt=0)
    """Backend 'server': the run ends when no server has answered for so long; large models take minutes to load."""
    extra_body: dict[str, Any] = {}
    """Backend 'server': passed on in every request, such as top_k; null leaves out what is sent otherwise."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """Backend 'vllm': GPUs that share the model, a slice of every layer on each."""
    max_model_len: int | None = Field(default=None, ge=2)
    """Backend 'vllm': most tokens of prompt and completion together; None takes the model's own context."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    """Backend 'vllm': share of a GPU's memory for weights and cache; None is vLLM's own, on the CPU 4 GiB."""
    engine_options: dict[str, Any] = {}
    """Backend 'vllm': further arguments of vllm.EngineArgs, such as quantization; they overrule all others."""

    @field_validator("base_urls", mode="before")
    @classmethod
    def _one_address_is_a_list(cls, urls: Any) -> Any:
        return (urls,) if isinstance(urls, str) else urls

    @model_validator(mode="after")
    def _nothing_secret_is_written(self) -> ServingConfig:
        if not self.api_key_env.isidentifier():  # the value is not repeated: it may be the key
            raise ValueError("api_key_env should be the name of an environment variable, not what it holds")
        if any("@" in url.partition("://")[2].partition("/")[0] for url in self.base_urls):
            raise ValueError("base_urls should hold no user or password; api_key_env names the variable with the key")
        return self

    @property
    def effective_engine_options(self) -> dict[str, Any]:
        """Those of ``engine_options`` that change what is sampled."""
        return {name: value for name, value in self.engine_options.items() if name not in ENGINE_OPTIONS_WITHOUT_EFFECT}


class TeacherConfig(ServingConfig, ModelConfig):
    """The model that writes the completions."""


class SamplingConfig(Config):
    """How completions are drawn (AdvDistill: 8 at temperature 0.9, top-p 1.0, at most 2,048 tokens)."""

    num_completions: int = Field(default=8, ge=1)
    """Completions sampled per problem: the size of a group."""
    temperature: float = Field(default=0.9, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling; 1.0 is off."""
    max_new_tokens: int = Field(default=2048, ge=1)
    """A completion that reaches this length is kept and flagged 'length'."""


class RecordedConfig(Config):
    """Completions that already exist: a JSONL or Parquet file, one row per completion or per problem.

    Every field names a column, or a path into nested values: ``a.b`` is a key inside a struct and
    ``completions[].text`` takes the key of every element of a list. A list of paths takes one
    completion from each. Beside completions in a plain column, what is not named is looked for under its usual names.
    """

    path: str | None = None
    """The file of completions."""
    id: str | None = None
    """Column with the problem's id; None uses 'id' where it exists, else the question decides."""
    question: str | None = None
    """Column with the question, for rows without an id."""
    completions: str | tuple[str, ...] | None = None
    """Where the texts stand; None tries the usual names."""
    models: str | tuple[str, ...] | None = None
    """Where each completion's model name stands; for a list of paths, literal names in the same order."""
    token_ids: str | None = None
    """Where each completion's token ids stand, end token included; taken as ``tokenizer``'s where one is named."""
    num_tokens: str | tuple[str, ...] | None = None
    """Where the number of each completion's tokens stands; for a list of paths, as many paths."""
    finish_reasons: str | None = None
    """Where it stands why each completion ended; what is not known to be 'stop' or 'length' is 'unknown'."""
    tokenizer: str | None = None
    """Tokenizer that counts (and encodes) completions which bring neither token ids nor a count."""


class RewardPartConfig(Config):
    """One part of the reward."""

    weight: float = 1.0
    function: str | None = None
    """A registered reward or 'pkg.module:function'; None means the part's own name."""
    options: dict[str, Any] = {}
    """Keyword arguments of the function: for 'cosine' preset, max_tokens, correct, wrong."""

    @field_validator("options", mode="before")
    @classmethod
    def _null_removes_an_option(cls, options: Any) -> Any:
        return without_nulls(options)


class RewardsConfig(Config):
    """The composite reward: the weighted sum of its parts (AdvDistill equation 2: cosine 2, format 1)."""

    parts: dict[str, RewardPartConfig] = {
        "cosine": RewardPartConfig(weight=2.0, options={"preset": "advdistill", "max_tokens": 2048}),
        "format": RewardPartConfig(weight=1.0),
    }
    """Parts by name, each with its weight and options; null removes one."""

    @field_validator("parts", mode="before")
    @classmethod
    def _null_removes_a_part(cls, parts: Any) -> Any:
        return without_nulls(parts)

    @field_validator("parts")
    @classmethod
    def _a_part_names_a_column(cls, parts: dict[str, RewardPartConfig]) -> dict[str, RewardPartConfig]:
        for name in parts:
            if not name.isidentifier() or name in {"mean", "std"}:
                raise ValueError(f"reward part '{name}' must be a plain word other than 'mean' and 'std'")
        return parts


class AdvantagesConfig(Config):
    """Group-relative advantages (AdvDistill equation 4)."""

    eps: float = Field(default=1e-4, ge=0)
    """Added to the standard deviation."""
    ddof: Literal[0, 1] = 1
    """1 is the unbiased standard deviation, as in GRPO."""


class EntropiesConfig(Config):
    """Teacher entropies per token, in nats at temperature 1: exact, or bounds where nobody has the weights."""

    mode: Literal["auto", "inline", "prefill", "topk_bounds", "none"] = "auto"
    """'inline' while sampling, 'prefill' by a later pass with local weights, 'auto' is inline where the backend can.
    'topk_bounds' encloses them by the largest log-probabilities that a server or vLLM tells of every token."""
    model: str | None = None
    """Local weights for 'prefill'; None takes the teacher."""
    top_k: int = Field(default=20, ge=1)
    """For 'topk_bounds': log-probabilities of every token; more are tighter, and many servers allow no more than 20."""
    vocabulary: int | None = Field(default=None, ge=2)
    """For 'topk_bounds': words that the teacher chooses from; None takes its config's, or its tokenizer's."""


class DecontaminationConfig(Config):
    """Problems left out before a token is bought: those that stand there twice, or that a benchmark asks too."""

    duplicates: bool = True
    """Leave out a problem that reads as an earlier one does, but for case, white space and punctuation."""
    near_duplicates: float | None = Field(default=None, ge=0.5, le=1)
    """Leave out one with the numbers of an earlier one and at least this share of its word triples, such as 0.9."""
    benchmarks: tuple[str, ...] | None = None
    """Cards, or 'card:split', whose problems are left out; None takes every benchmark card, an empty list none."""
    paths: dict[str, str] = {}
    """Local copies of benchmarks: card -> file. One that has none and is not in the Hub's cache is named unchecked."""
    fetch: bool = False
    """Download benchmarks that are not on this machine."""
    run: int = Field(default=8, ge=3)
    """Words in a row that a problem and a benchmark's share; shorter questions are compared whole."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Of a benchmark problem's words that such runs have to cover."""

    @field_validator("paths", mode="before")
    @classmethod
    def _null_removes_a_path(cls, paths: Any) -> Any:
        return without_nulls(paths)


class PriceConfig(Config):
    """What the teacher's tokens cost, for the estimate of a dry run."""

    prompt_per_million: float | None = Field(default=None, ge=0)
    """Price of a million prompt tokens; a prompt is counted once for all completions of its group."""
    completion_per_million: float | None = Field(default=None, ge=0)
    """Price of a million completion tokens."""
    currency: str = "USD"
    """What prices are in; only shown."""
    expected_tokens_per_completion: int | None = Field(default=None, ge=1)
    """How long completions are on average, where that is known; None shows only the most that they can cost."""


class FilterTest(Config):
    """An example of what a filter keeps or drops; run whenever the recipe is loaded."""

    keep: bool
    """Whether the filter should keep this group."""
    question: str = ""
    completions: tuple[str, ...] = ()
    """Texts; where there are fewer than of the others, the last one stands for the rest."""
    outcomes: tuple[Literal["correct", "incorrect", "no_answer", "unverified"], ...] = ()
    """All correct where none is named."""
    tokens: tuple[int, ...] = ()
    """Number of tokens of each completion."""


class FilterConfig(Config):
    """A rule that keeps or drops groups; in a recipe 'name', or '{name: {option: value}, tests: [...]}'."""

    name: str
    """A registered filter or 'pkg.module:function'."""
    options: dict[str, Any] = {}
    """Keyword arguments of the function."""
    tests: tuple[FilterTest, ...] = ()
    """Examples that it has to get right before anything is sampled."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and "name" not in value:
            names = [key for key in value if key != "tests"]
            if len(names) == 1:
                return {"name": names[0], "options": value[names[0]] or {}, "tests": value.get("tests", ())}
        return value


class CurateConfig(Config):
    """``distill curate``: problems in, scored groups out."""

    source: SourceConfig = SourceConfig()
    decontaminate: DecontaminationConfig = DecontaminationConfig()
    prompt: PromptConfig = PromptConfig()
    teacher: TeacherConfig = TeacherConfig()
    sampling: SamplingConfig = SamplingConfig()
    recorded: RecordedConfig = RecordedConfig()
    verifier: VerifierConfig = VerifierConfig()
    rewards: RewardsConfig = RewardsConfig()
    advantages: AdvantagesConfig = AdvantagesConfig()
    filters: tuple[FilterConfig, ...] = (FilterConfig(name="any_correct"),)
    """Rules that keep a group, asked in this order; a dropped group stays in the data, flagged with the reason."""
    entropies: EntropiesConfig = EntropiesConfig()
    price: PriceConfig = PriceConfig()
    max_error_rate: float = Field(default=0.1, ge=0, le=1)
    """A problem that fails is left for the next session; the run ends when more than this share of them do."""
    seed: int = 0
    """A completion's generator is seeded from (seed, problem id, index of the completion)."""

    @model_validator(mode="after")
    def _recorded_completions_are_read(self) -> CurateConfig:
        if self.recorded.path is not None and self.teacher.backend == "hf":
            raise ValueError(
                f"recorded.path is '{self.recorded.path}', but the backend 'hf' samples and reads no completions: "
                "leave it out, or set teacher.backend to 'recorded'"
            )
        return self
