"""One group from whichever servers answer: requests, retries, and what becomes of those that fail for good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distill.errors import DistillError
from distill.generate.server_answers import Choice, read_choices
from distill.generate.server_failures import ProblemFailedError, PromptTooLongError, RefusalError, TroubleError
from distill.generate.server_requests import RequestWriter, Wanted
from distill.generate.server_routing import Endpoint, Fleet, Pace
from distill.records import Prompt


@dataclass(frozen=True, slots=True)
class Job:
    """One group, as it is wanted."""

    prompt: Prompt
    seeds: Sequence[int | None]
    """Of each completion; None where sampling is greedy."""
    max_new_tokens: int
    max_retries: int
    needs_lengths: bool
    """Whether the server has to tell how many tokens a completion has; one by one, its log-probabilities tell too."""
    raw_logprobs: bool
    """Whether any server's log-probabilities are those of the raw distribution, for nothing is done to it."""
    top_k: int = 0
    """How many of every token's largest log-probabilities are wanted."""


class GroupSampler:
    """Samples groups, any number at once, on one event loop."""

    def __init__(self, writer: RequestWriter, fleet: Fleet, pace: Pace, note: Callable[[str], None]) -> None:
        """Put the parts together.

        Args:
            note: is told, in a sentence, of every way in which a server differs from what was asked of it.
        """
        self._writer, self._fleet, self._pace, self._note = writer, fleet, pace, note

    async def sample(self, job: Job) -> list[Choice]:
        """As many completions as there are seeds; none where the prompt leaves no room for any.

        Raises:
            ProblemFailedError: there are none to be had for this prompt.
            DistillError: there are none to be had for any.
        """
        try:
            return await self._ask(job, range(len(job.seeds)))
        except PromptTooLongError:
            return []

    async def _ask(self, job: Job, indices: Sequence[int]) -> list[Choice]:
        """The completions of these indices, through as many requests as it takes."""
        retries = _Retries(job.max_retries, self._pace)
        while True:
            async with self._fleet.place(len(indices)) as endpoint:
                try:
                    found = await self._request(job, indices, endpoint)
                    break
                except TroubleError as trouble:
                    self._fleet.failed(endpoint, trouble)
                    seconds = retries.wait(trouble, endpoint.url)
            await asyncio.sleep(seconds)
        rest = indices[len(found) :]
        if not rest:
            return found
        return found + await (self._ask(job, rest) if endpoint.dialect.takes_n else self._ask_singly(job, rest))

    async def _ask_singly(self, job: Job, indices: Sequence[int]) -> list[Choice]:
        """The same through a request for each, all at once."""
        try:
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(self._ask(job, [index])) for index in indices]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [choice for task in asked for choice in task.result()]

    async def _request(self, job: Job, indices: Sequence[int], endpoint: Endpoint) -> list[Choice]:
        """The first of the completions, as many as one request brings; none where it takes one for each."""
        max_tokens = _room(job, endpoint)
        if job.top_k and not (job.raw_logprobs or endpoint.raw_logprobs):
            raise DistillError(
                f"'{endpoint.url}' may give log-probabilities after temperature and top-p: they bound no entropies",
                hint="sample at temperature 1 and top-p 1, take a vLLM server, or set entropies.mode to none",
            )
        while endpoint.dialect.takes_n or len(indices) == 1:
            logprobs = (
                job.raw_logprobs or endpoint.raw_logprobs or (job.needs_lengths and not endpoint.dialect.tells_ids)
            )
            wanted = Wanted(job.prompt, len(indices), max_tokens, job.seeds[indices[0]], logprobs, job.top_k)
            path, body = self._writer.write(wanted, endpoint.dialect)
            try:
                answer = await endpoint.client.ask(path, body)
            except RefusalError as refusal:
                max_tokens = self._give_way(job, refusal, body, max_tokens, endpoint)
                continue
            found = self._read(job, answer, body, endpoint)
            self._fleet.succeeded(endpoint)
            return found[: len(indices)]
        return []

    def _give_way(
        self, job: Job, refusal: RefusalError, body: Mapping[str, Any], max_tokens: int, endpoint: Endpoint
    ) -> int:
        """How many tokens to ask for next, after a refusal that something can be done about."""
        complaint = refusal.complaint
        if complaint.is_overflow:
            room = complaint.room()
            if not room or room >= max_tokens:
                raise PromptTooLongError
            return room
        if job.top_k and "logprobs" in complaint.message:
            raise _untold(job, endpoint, f": {refusal}")
        learnt = endpoint.dialect.learn(complaint, body)
        if not learnt:
            if isinstance(body.get("prompt"), list) and not endpoint.served and "string" in complaint.message:
                raise DistillError(
                    f"'{endpoint.url}' takes no token ids for a prompt: {refusal}",
                    hint="leave out teacher.tokenizer: the server then gets messages, or plain text",
                )
            raise ProblemFailedError(str(refusal))
        self._note(f"'{endpoint.url}': {learnt}")
        return max_tokens

    def _read(self, job: Job, answer: Mapping[str, Any], body: Mapping[str, Any], endpoint: Endpoint) -> list[Choice]:
        """The completions of an answer that are of use; what it shows of the server is remembered."""
        choices = read_choices(answer, job.top_k)
        counted = [choice for choice in choices if choice.num_tokens >= 0 or not job.needs_lengths]
        too_few = len(answer["choices"]) < body.get("n", 1)
        if body.get("n", 1) > 1 and (too_few or len(counted) < len(choices)):
            endpoint.dialect.takes_n = False
            why = "it ignores 'n'" if too_few else "of several it does not tell how long each is"
            self._note(f"'{endpoint.url}': every completion is a request of its own, for {why}")
        elif not choices:
            raise TroubleError("an answer without a whole completion")
        elif not counted:
            raise DistillError(
                f"'{endpoint.url}' does not tell how many tokens a completion has, which rewards depend on",
                hint="--set teacher.tokenizer=MODEL counts them",
            )
        if job.top_k and any(choice.largest is None for choice in counted):
            raise _untold(job, endpoint)
        endpoint.dialect.tells_ids |= any(choice.token_ids for choice in choices)
        raw = job.raw_logprobs or endpoint.raw_logprobs
        model = str(answer.get("model") or body["model"])
        return [
            replace(choice, logprobs=choice.logprobs if raw else None, seed=body.get("seed"), model=model)
            for choice in counted
        ]


def _untold(job: Job, endpoint: Endpoint, why: str = "") -> DistillError:
    return DistillError(
        f"'{endpoint.url}' does not tell the {job.top_k} largest log-probabilities of every token by its id{why}",
        hint="lower entropies.top_k where it allows fewer; else entropies.mode=prefill with local weights, or none",
    )


class _Retries:
    """How often one request may yet be sent, and when."""

    def __init__(self, max_retries: int, pace: Pace) -> None:
        self._max_retries, self._pace = max_retries, pace
        self._failures = self._waits = 0
        self._waiting_since = 0.0

    def wait(self, trouble: TroubleError, url: str) -> float:
        """Seconds until the next time.

        Raises:
            ProblemFailedError: there is no next time.
        """
        asked = min(trouble.retry_after, self._pace.patience)
        if trouble.kind == "unreachable":  # says nothing about this request: the fleet knows when to go on, or to end
            return self._pace.delay(1)
        if trouble.kind == "wait":
            now = asyncio.get_running_loop().time()
            self._waiting_since = self._waiting_since or now
            if now - self._waiting_since > self._pace.patience:
                raise ProblemFailedError(f"told to wait for {self._pace.patience:g} s by '{url}': {trouble}")
            self._waits += 1
            return max(asked, self._pace.delay(self._waits))
        self._failures += 1
        if self._failures > self._max_retries:
            raise ProblemFailedError(f"{self._failures} requests failed, the last at '{url}': {trouble}")
        return max(asked, self._pace.delay(self._failures))


def _room(job: Job, endpoint: Endpoint) -> int:
    """Tokens that a completion may have, as far as can be told before it is asked for."""
    if endpoint.max_model_len is None:
        return job.max_new_tokens
    room = endpoint.max_model_len - len(job.prompt.token_ids)
    if room < 1:
        raise PromptTooLongError
    return min(room, job.max_new_tokens)
