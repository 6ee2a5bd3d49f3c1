"""Completions from a vLLM engine that this command loads and ends itself.

A group is one request for all its completions. Groups go into the engine as its places become free and come out as they
are whole: there is no batch that waits for its longest completion. Prompts go in as token ids, and what comes out is
what was sampled: ids and log-probabilities of the raw distribution, never a text cut into tokens again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError
from distill.generate.base import BackendOptions, OnProgress
from distill.generate.server_requests import request_seed
from distill.generate.topk_bounds import Told, bounds_of_tokens, told_of_token
from distill.generate.vllm_engine import Engine, check_installed, start_engine
from distill.models import end_token_ids, load_tokenizer, tokenizer_fingerprint
from distill.records import Completion, EntropyKind, FinishReason, Group, Problem, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from vllm import SamplingParams
    from vllm.outputs import CompletionOutput

SEEDED = (
    "every completion has a seed of its own: the k-th of a group draws from the group's seed + k; vllm's arithmetic "
    "depends on what shares a batch, so another run gives the same completions but for rare tokens"
)
UNSEEDED = (
    "no completion has a seed of its own: on the CPU vllm takes none with enable_chunked_prefill, so another run, or "
    "the rest of an interrupted one, samples other completions than this one would have"
)


@dataclass(slots=True)
class _Sampled:
    """What the engine has told so far of one completion."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    """Of every token's distribution, where entropies are to be enclosed."""
    finish_reason: str = ""

    def add(self, output: CompletionOutput, top_k: int) -> None:
        """Append what is new; ``top_k`` log-probabilities were asked for beside that of the sampled token."""
        self.token_ids += output.token_ids
        told: Any = output.logprobs
        # beside the sampled token, which stands first, an engine may list likelier ones
        self.logprobs += [told.logprobs[start] for start in told.start_indices]
        for start, end in zip(told.start_indices, told.end_indices, strict=True) if top_k else ():
            words = dict(zip(told.token_ids[start:end], told.logprobs[start:end], strict=True))
            self.told.append(told_of_token(list(words.values()), told.logprobs[start], top_k, distinct=True))
        self.finish_reason = output.finish_reason or ""


@dataclass(slots=True)
class _OpenGroup:
    """A group that the engine is at work on."""

    problem: Problem
    prompt: Prompt
    seed: int | None
    """Of the first completion."""
    sampled: list[_Sampled]

    @property
    def is_whole(self) -> bool:
        """True when the engine is done with every completion."""
        return all(one.finish_reason for one in self.sampled)


class VLLMBackend:
    """Samples with vLLM; ``notes`` says what its seeds are worth on this machine."""

    def __init__(self, options: BackendOptions) -> None:
        """Load the teacher into a new engine.

        Raises:
            DistillError: vLLM is not installed, there is no such model, or the engine does not start.
        """
        check_installed()
        self.teacher = options.teacher.model
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(self.teacher)
        self.tokenizer_fingerprint = tokenizer_fingerprint(self.tokenizer)
        self._options = options
        self.entropy_kind: EntropyKind = "topk_bounds" if options.bounds else "none"
        self._top_k = options.bounds.top_k if options.bounds else 0
        self._is_greedy = options.sampling.temperature == 0
        # greedy completions are all the same, and vLLM refuses to compute one twice
        self._num_sampled = 1 if self._is_greedy else options.sampling.num_completions
        self._request_ids = count()
        self._engine: Engine | None = start_engine(options)
        with ExitStack() as on_error:
            on_error.callback(self.close)
            self._takes_seeds = self._engine.takes_seeds
            config = self._engine.core.model_config
            self._context: int = config.max_model_len
            named = options.bounds.vocabulary if options.bounds else None
            self._vocabulary: int = named or config.get_vocab_size()
            self._end_ids = _end_ids(config.try_get_generation_config(), self.tokenizer)
            self.notes = self._engine_notes(config)
            on_error.pop_all()

    def sample(self, items: Iterable[tuple[Problem, Prompt]], on_progress: OnProgress | None = None) -> Iterator[Group]:
        """Yield groups as they are finished; see ``Backend.sample``.

        ``teacher.groups_in_flight`` counts places for whole groups: where some completions of a group are finished,
        their places go to the next one. When the caller stops, what is in flight is given up.

        Raises:
            DistillError: a prompt without token ids, or the engine has died.
        """
        open_groups: dict[str, _OpenGroup] = {}
        source = iter(items)
        places = self._options.teacher.groups_in_flight * self._num_sampled
        try:
            while True:
                while _num_unfinished(open_groups) + self._num_sampled <= places:
                    if (item := next(source, None)) is None:
                        break
                    if not self._begin(*item, open_groups):
                        yield self._group(*item)
                if not open_groups:
                    return
                finished, num_tokens = self._step(open_groups)
                if on_progress is not None and num_tokens:
                    on_progress(num_tokens)
                yield from finished
        finally:
            if open_groups and self._engine is not None:
                self._engine.core.abort_request(list(open_groups))

    def close(self) -> None:
        """End the engine and its processes; a second call does nothing."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _begin(self, problem: Problem, prompt: Prompt, open_groups: dict[str, _OpenGroup]) -> bool:
        """Put a group into the engine; False where the prompt leaves no room for a token."""
        if self._engine is None:
            raise RuntimeError("the backend is closed")
        if not prompt.token_ids:
            raise DistillError(
                f"the prompt of problem '{problem.id}' has no token ids",
                hint="build prompts with the backend's tokenizer; an empty prompt cannot be continued",
            )
        if len(prompt.token_ids) >= self._context:
            return False
        seeded = self._takes_seeds and not self._is_greedy
        seed = request_seed(self._options.seed, problem.id, 0) if seeded else None
        request_id = str(next(self._request_ids))
        open_groups[request_id] = _OpenGroup(problem, prompt, seed, [_Sampled() for _ in range(self._num_sampled)])
        request: Any = {"type": "token", "prompt_token_ids": list(prompt.token_ids)}
        with _death_explained(open_groups):
            self._engine.core.add_request(request_id, request, self._sampling_params(seed))
        return True

    def _sampling_params(self, seed: int | None) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = self._options.sampling
        return SamplingParams(
            n=self._num_sampled,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_new_tokens,  # or up to the end of the context
            seed=seed,
            stop_token_ids=sorted(self._end_ids),
            logprobs=self._top_k,  # beside that of the sampled token
            flat_logprobs=True,  # plain lists in place of a dictionary and an object for every token
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )

    def _step(self, open_groups: dict[str, _OpenGroup]) -> tuple[list[Group], int]:
        """Groups that became whole, and the number of new tokens; a group among them leaves ``open_groups``."""
        assert self._engine is not None
        finished, num_tokens = [], 0
        with _death_explained(open_groups):
            outputs = self._engine.core.step()
        for output in outputs:
            group = open_groups.get(output.request_id)
            if group is None:  # given up
                continue
            for told in output.outputs:
                group.sampled[told.index].add(told, self._top_k)
                num_tokens += len(told.token_ids)
            if group.is_whole:
                del open_groups[output.request_id]
                finished.append(self._finished_group(group))
        return finished, num_tokens * (self._options.sampling.num_completions // self._num_sampled)

    def _finished_group(self, group: _OpenGroup) -> Group:
        broken = [one.finish_reason for one in group.sampled if one.finish_reason not in ("stop", "length")]
        if broken:
            return self._group(group.problem, group.prompt, error=f"vllm ended a completion with '{broken[0]}'")
        completions = tuple(self._completion(group, index) for index in range(self._num_sampled))
        copies = self._options.sampling.num_completions // self._num_sampled
        return self._group(group.problem, group.prompt, completions * copies)

    def _completion(self, group: _OpenGroup, index: int) -> Completion:
        sampled = group.sampled[index]
        ended = sampled.finish_reason == "stop"
        text_ids = sampled.token_ids[:-1] if ended else sampled.token_ids
        reason: FinishReason = "stop" if ended else "length"
        # special tokens stay: some tokenizers count <think> among them
        text = self.tokenizer.decode(text_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        lower, upper = bounds_of_tokens(sampled.told, self._vocabulary) if self._top_k else (None, None)
        return Completion(
            text=str(text),
            token_ids=tuple(sampled.token_ids),
            logprobs=tuple(sampled.logprobs),
            entropy_lower=lower,
            entropy_upper=upper,
            finish_reason=reason,
            seed=None if group.seed is None else group.seed + index,
            model=self.teacher,
            think_opened=group.prompt.opens_think,
        )

    def _group(
        self, problem: Problem, prompt: Prompt, completions: tuple[Completion, ...] = (), error: str = ""
    ) -> Group:
        return Group(
            problem, prompt, completions, self.teacher, self.tokenizer_fingerprint, self.entropy_kind, error=error
        )

    def _engine_notes(self, config: Any) -> tuple[str, ...]:
        import vllm

        device = "the CPU" if self._engine is not None and self._engine.on_cpu else "GPUs"
        dtype = str(config.dtype).removeprefix("torch.")
        engine = f"vllm {vllm.__version__} on {device} in {dtype}, context of {self._context:,} tokens"
        if self._is_greedy:
            return (engine,)
        return engine, SEEDED if self._takes_seeds else UNSEEDED


def _num_unfinished(open_groups: dict[str, _OpenGroup]) -> int:
    return sum(not one.finish_reason for group in open_groups.values() for one in group.sampled)


def _end_ids(generation: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every id that ends a completion, as the transformers backend has it."""
    from transformers import GenerationConfig

    named: Any = {"eos_token_id": generation.get("eos_token_id")}
    return end_token_ids(GenerationConfig.from_dict(named), tokenizer)


@contextmanager
def _death_explained(open_groups: dict[str, _OpenGroup]) -> Iterator[None]:
    import torch
    from vllm.v1.engine.exceptions import EngineDeadError

    try:
        yield
    except (EngineDeadError, torch.OutOfMemoryError) as error:
        open_groups.clear()  # there is nobody left to give them up to
        reason = "its device has no memory left" if isinstance(error, torch.OutOfMemoryError) else "its words are above"
        raise DistillError(
            f"the vllm engine died while it sampled: {reason}",
            hint="the same command goes on; if memory was short, lower teacher.groups_in_flight or max_model_len",
        ) from error
