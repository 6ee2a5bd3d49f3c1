"""Completions from any number of servers with OpenAI's protocol: vLLM, SGLang, llama.cpp, a provider on the net.

A group is one request for all its completions where the server takes that; a fixed number of groups is in flight, and
whenever one is whole the next begins. Prompts are token ids where ``teacher.tokenizer`` names the model's tokenizer,
else messages that the server renders, or plain text.

Seeds are sent, and what they promise is the server's word: with vLLM the k-th completion of a request draws from its
seed + k, and depends on the batch it is computed in all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from queue import Empty
from time import monotonic
from typing import TYPE_CHECKING

from distill.errors import DistillError
from distill.generate.base import BackendOptions, OnProgress
from distill.generate.server_answers import Choice, CompletionReader, opened_by_template
from distill.generate.server_failures import ProblemFailedError
from distill.generate.server_opening import open_endpoints, read_key, why_down
from distill.generate.server_requests import RequestWriter, request_seed
from distill.generate.server_routing import Fleet, Pace
from distill.generate.server_sampling import GroupSampler, Job
from distill.generate.server_thread import LoopThread, Window
from distill.models import load_tokenizer, tokenizer_fingerprint, vocabulary_size
from distill.records import EntropyKind, Group, Problem, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Items that wait for a place, as a share of the window: what goes on while the caller looks at a group.
READ_AHEAD = 1 / 4
# How often the caller hears that nothing has come, to show how long it has been waiting.
LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is going on at this moment."""

    groups_in_flight: int
    oldest_seconds: float
    """How long the oldest of them has been in flight."""
    servers_answering: int
    servers: int


class ServerBackend:
    """Samples through HTTP requests that run in a thread of their own."""

    def __init__(self, options: BackendOptions, *, pace: Pace | None = None) -> None:
        """Look at every server; nothing is sampled yet.

        Raises:
            DistillError: an address, the key or the model's name is wrong, no server can be reached, or
                ``teacher.extra_body`` sets what it may not.
        """
        teacher = options.teacher
        self.teacher = teacher.model
        self._options, self._pace = options, pace or Pace(patience=teacher.patience_seconds)
        self._notes: dict[str, None] = {}
        self._started: dict[str, float] = {}
        writer, key = RequestWriter(teacher, options.sampling), read_key(teacher)
        self._thread = LoopThread("distill server requests")
        with ExitStack() as on_error:
            on_error.callback(self.close)
            self._fleet: Fleet | None = None
            self._fleet = self._thread.run(self._open_fleet(key))
            self.tokenizer: PreTrainedTokenizerBase | None = None
            if teacher.tokenizer is not None:
                self.tokenizer = load_tokenizer(teacher.tokenizer)
            self.tokenizer_fingerprint = tokenizer_fingerprint(self.tokenizer) if self.tokenizer else ""
            vocabulary = _vocabulary(options)
            self.entropy_kind: EntropyKind = "topk_bounds" if vocabulary else "none"
            self._writer, self._reader = writer, CompletionReader(self.tokenizer, vocabulary)
            self._sampler = GroupSampler(writer, self._fleet, self._pace, self._note)
            on_error.pop_all()

    @property
    def notes(self) -> tuple[str, ...]:
        """In what way servers differ from what was asked of them, as far as has shown: for the run's record."""
        return tuple(self._notes)

    @property
    def load(self) -> Load:
        """What is going on now; may be asked from any thread."""
        started, servers = list(self._started.values()), self._fleet.endpoints if self._fleet else ()
        return Load(
            groups_in_flight=len(started),
            oldest_seconds=monotonic() - min(started) if started else 0.0,
            servers_answering=sum(endpoint.down_since is None for endpoint in servers),
            servers=len(servers),
        )

    def sample(self, items: Iterable[tuple[Problem, Prompt]], on_progress: OnProgress | None = None) -> Iterator[Group]:
        """Yield groups as they become whole; see ``Backend.sample``.

        Requests go on while the caller looks at a group. When the caller stops, those in flight are cancelled. A
        problem that failed for good has no completions and an ``error``; to give up on many is the caller's decision.

        Raises:
            DistillError: no server has answered for long, or none will: the key is refused, lengths are not told.
        """
        size = self._options.teacher.groups_in_flight
        most_ahead = size + max(1, int(size * READ_AHEAD))
        source, num_open = iter(items), 0
        with Window(self._thread, size, self._sample) as window:
            while True:
                while num_open < most_ahead and (item := next(source, None)) is not None:
                    window.put(item)
                    num_open += 1
                if not num_open:
                    return
                try:
                    sampled = window.get(LOOK_SECONDS)
                except Empty:
                    if on_progress is not None:
                        on_progress(0)
                    continue
                group = self._group(*sampled)
                num_open -= 1
                if on_progress is not None:
                    on_progress(sum(max(0, completion.num_tokens) for completion in group.completions))
                yield group

    def close(self) -> None:
        """Cancel what is in flight, close all connections and end the thread; a second call does nothing."""
        if self._thread.is_closed:
            return
        try:
            self._thread.cancel()
            for endpoint in self._fleet.endpoints if self._fleet else ():
                self._thread.run(endpoint.client.close())
        finally:
            self._thread.close()

    async def _open_fleet(self, key: str) -> Fleet:
        endpoints = await open_endpoints(self._options.teacher, key)
        fleet = Fleet(endpoints, lambda endpoint: why_down(endpoint, self.teacher), self._pace)
        for endpoint in endpoints:
            if endpoint.reason:
                self._note(f"'{endpoint.url}' could not be reached at the start: {endpoint.reason}")
                fleet.evict(endpoint, endpoint.reason)
        return fleet

    async def _sample(self, item: tuple[Problem, Prompt]) -> tuple[Problem, Prompt, list[Choice], str]:
        """What the servers say to a prompt, and why they say nothing."""
        problem, prompt = item
        self._started[problem.id] = monotonic()
        try:
            return problem, prompt, await self._sampler.sample(self._job(problem, prompt)), ""
        except ProblemFailedError as failure:
            return problem, prompt, [], str(failure)
        finally:
            self._started.pop(problem.id, None)

    def _group(self, problem: Problem, prompt: Prompt, choices: Sequence[Choice], error: str) -> Group:
        """A group from what the servers said; made by the caller's thread, which the tokenizer is left to."""
        completions = tuple(self._reader.read(choice, think_opened=prompt.opens_think) for choice in choices)
        if self._writer.is_chat(prompt):
            completions = opened_by_template(completions)
        kind = self.entropy_kind
        if kind != "none" and any(completion.entropy_upper is None for completion in completions):
            kind = "none"
            self._note("groups have no bounds of entropies where a server keeps end tokens to itself")
        return Group(problem, prompt, completions, self.teacher, self.tokenizer_fingerprint, kind, error)

    def _job(self, problem: Problem, prompt: Prompt) -> Job:
        if self.tokenizer is not None and not prompt.token_ids:
            raise DistillError(
                f"the prompt of problem '{problem.id}' has no token ids",
                hint="build prompts with the backend's tokenizer; an empty prompt cannot be continued",
            )
        sampling = self._options.sampling
        seeds = [
            request_seed(self._options.seed, problem.id, index) if sampling.temperature > 0 else None
            for index in range(sampling.num_completions)
        ]
        return Job(
            prompt,
            seeds,
            sampling.max_new_tokens,
            self._options.teacher.max_retries,
            needs_lengths=self.tokenizer is None,
            raw_logprobs=sampling.temperature == 1 and sampling.top_p == 1,
            top_k=self._options.bounds.top_k if self._options.bounds else 0,
        )

    def _note(self, text: str) -> None:
        self._notes[text] = None


def _vocabulary(options: BackendOptions) -> int:
    """How many words the teacher chooses from; 0 where no entropies are to be enclosed."""
    if options.bounds is None:
        return 0
    if options.bounds.vocabulary is None and options.teacher.tokenizer is None:
        raise DistillError(
            "entropies are bounded by how many words the teacher chooses from, which a server does not tell",
            hint="--set teacher.tokenizer=MODEL finds out, or entropies.vocabulary=151936 says it",
        )
    return options.bounds.vocabulary or vocabulary_size(options.teacher.tokenizer or "")
