"""A server with the OpenAI protocol that replays completions: in a thread for tests, as a process for benchmarks.

    python -m tests.replay_server --port 8123 --latency 0.5 --completions recorded.jsonl

An honest HTTP/1.1 server on the standard library: keep-alive, `/v1/models`, `/v1/completions` with text or token ids,
`/v1/chat/completions`, `/health`, and `/stats` with what it has counted. What it says depends on the prompt and the
request's seed, where there is one; the faults that it makes up depend on the prompt and on how often it was asked.
Nothing is streamed, and an unknown parameter is ignored unless it is listed as refused.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests import replay_model
from tests.replay_http import Answer, Connection, Request
from tests.replay_model import ChunkTokens, Completer, ModelTokens, Said, Tokens, digest, recorded, written


@dataclass(frozen=True, slots=True)
class Options:
    """How the server behaves; rates are shares from 0 to 1."""

    model: str = "replay"
    prefix: str = "/v1"
    latency_seconds: float = 0.0
    tail: float = 0.0
    """Sigma of a log-normal factor on each completion's latency, whose mean stays; 1 is heavy. A request waits for its
    slowest."""
    honours_n: bool = True
    key: str = ""
    """The API key that requests must carry."""
    refused: frozenset[str] = frozenset()
    """Parameters that are answered with 400."""
    token_ids: bool = True
    """Whether it knows return_token_ids, and takes token ids for a prompt."""
    logprobs: bool = True
    top_logprobs: bool = True
    usage: bool = True
    owner: str = "replay"
    lists_models: bool = True
    max_model_len: int | None = 32_768
    tells_max_model_len: bool = True
    rate_limited: float = 0.0
    retry_after: str = "0"
    failing: float = 0.0
    torn: float = 0.0
    garbled: float = 0.0
    overflowing: float = 0.0
    """Share of the prompts that are always too long."""
    seed: int = 0


@dataclass(slots=True)
class Stats:
    """What the server has seen of requests for completions."""

    requests: int = 0
    completions: int = 0
    """Completions that were sent whole."""
    in_flight: int = 0
    max_in_flight: int = 0
    """Most requests that were open at once."""
    answers: Counter[str] = field(default_factory=Counter)
    """'200', '500', 'torn', 'gone' ... -> requests."""
    by_prompt: Counter[str] = field(default_factory=Counter)
    """Prompt -> completions that were made."""
    bodies: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=1000))
    """The last requests."""
    first_at: float | None = None
    last_at: float | None = None
    """When the first request came and the last one ended, on the machine's monotonic clock."""


class ReplayServer:
    """Serves in a thread between ``with`` and its end, on a free port unless one is named."""

    def __init__(
        self,
        options: Options = Options(),
        complete: Completer = written,
        tokens: Tokens | None = None,
        *,
        port: int = 0,
    ) -> None:
        self.options, self.complete, self.tokens, self.port = options, complete, tokens or ChunkTokens(), port
        self.stats = Stats()
        self.connections: set[Connection] = set()
        self.changed = threading.Condition()
        """Notified whenever a request comes or ends."""
        self.outage: int | None = None
        """While this is a status, every request is answered with it, those for health and models too."""
        self.holding: str | None = None
        """While this is a text, completions of prompts that contain it are kept back until ``release``."""
        self._held: list[Callable[[], None]] = []
        self._attempts: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.options.prefix}"

    def __enter__(self) -> ReplayServer:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve(started)), name="replay server")
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Cut all connections and end the thread; a second call does nothing."""
        assert self._loop is not None
        assert self._thread is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def release(self) -> None:
        """Let go of what is held, and hold nothing more."""
        assert self._loop is not None
        self.holding = None
        self._loop.call_soon_threadsafe(self._send_held)

    def wait_until(self, happened: Callable[[Stats], bool]) -> None:
        """Wait until the requests seen so far fulfil a condition."""
        with self.changed:
            assert self.changed.wait_for(lambda: happened(self.stats), timeout=30)

    async def serve(self, started: threading.Event | None = None) -> None:
        """Listen until stopped; connections are cut then, as by a server that dies."""
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: Connection(self), "127.0.0.1", self.port, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        if started is not None:
            started.set()
        try:
            await self._stopping.wait()
        finally:
            server.close()
            for _ in range(3):  # turns of the loop until a connection that was just accepted is known
                await asyncio.sleep(0)
            while self.connections:
                for connection in list(self.connections):
                    connection.cut()
                await asyncio.sleep(0)
            await server.wait_closed()

    def answer(self, request: Request) -> Answer:
        path, options = request.path.partition("?")[0], self.options
        if path == "/stats":
            return Answer(200, _stats_json(self.stats))
        if request.method == "POST":
            self._count_start()
        if self.outage is not None:
            return failure(self.outage, "the server is down")
        if path == "/health":
            return Answer(200, b"{}")
        if options.key and request.headers.get("authorization") != f"Bearer {options.key}":
            return failure(401, f"Incorrect API key provided: {request.headers.get('authorization', 'none')}")
        route = path.removeprefix(options.prefix) if path.startswith(options.prefix) else ""
        if request.method == "GET" and route == "/models" and options.lists_models:
            return Answer(200, json.dumps({"object": "list", "data": [self._card()]}).encode())
        if request.method != "POST" or route not in ("/completions", "/chat/completions"):
            return failure(404, "Not Found")
        try:
            return self._complete(route == "/chat/completions", json.loads(request.body))
        except (ValueError, KeyError, TypeError) as error:
            return failure(400, f"malformed request: {type(error).__name__} {error}")

    def hold(self, send: Callable[[], None]) -> None:
        self._held.append(send)

    def count(self, request: Request, outcome: str, completions: int) -> None:
        if request.method == "POST":
            with self.changed:
                self.stats.in_flight -= 1
                self.stats.answers[outcome] += 1
                self.stats.completions += completions
                self.stats.last_at = time.monotonic()
                self.changed.notify_all()

    def _count_start(self) -> None:
        with self.changed:
            self.stats.first_at = self.stats.first_at or time.monotonic()
            self.stats.requests += 1
            self.stats.in_flight += 1
            self.stats.max_in_flight = max(self.stats.max_in_flight, self.stats.in_flight)
            self.changed.notify_all()

    def _send_held(self) -> None:
        held, self._held = self._held, []
        for send in held:
            send()

    def _card(self) -> dict[str, Any]:
        card = {"id": self.options.model, "object": "model", "created": 0, "owned_by": self.options.owner}
        told = self.options.tells_max_model_len and self.options.max_model_len is not None
        return {**card, "max_model_len": self.options.max_model_len} if told else card

    def _complete(self, chat: bool, body: dict[str, Any]) -> Answer:
        options = self.options
        self.stats.bodies.append(body)
        prompt = _chat_text(body["messages"]) if chat else body["prompt"]
        refusal = self._refusal(body, prompt)
        if refusal is not None:
            return refusal
        num_prompt_tokens = len(prompt) if isinstance(prompt, list) else self.tokens.count(prompt)
        text = self.tokens.decode(prompt) if isinstance(prompt, list) else prompt
        attempt = self._attempts[text]
        self._attempts[text] += 1
        chance = random.Random(digest(f"{options.seed} {attempt} {text}", 1))
        seconds = options.latency_seconds
        too_long = digest(f"{options.seed} {text}", 2) % 10_000 < options.overflowing * 10_000
        limit = options.max_model_len or sys.maxsize
        num_tokens = limit + 1 if too_long else num_prompt_tokens
        if num_tokens + _max_tokens(body) > limit:
            return failure(400, replay_model.overflow(limit, num_tokens, _max_tokens(body)), seconds=seconds)
        drawn = chance.random()
        rates = {"429": options.rate_limited, "500": options.failing, "torn": options.torn, "garbled": options.garbled}
        for name, rate in rates.items():
            if drawn < rate:
                return _fault(name, options.retry_after, seconds)
            drawn -= rate
        return self._say(chat, body, text, num_prompt_tokens)

    def _refusal(self, body: dict[str, Any], prompt: Any) -> Answer | None:
        """A request that no server of this kind takes."""
        for name in sorted(self.options.refused & body.keys()):
            instead = "; use 'max_completion_tokens' instead" if name == "max_tokens" else ""
            return failure(400, f"Unsupported parameter: '{name}'{instead}")
        if body.get("model") != self.options.model:
            return failure(404, f"The model `{body.get('model')}` does not exist.")
        if isinstance(prompt, list) and not self.options.token_ids:
            return failure(422, "prompt: Input should be a valid string", param="prompt")
        return None

    def _say(self, chat: bool, body: dict[str, Any], text: str, num_prompt_tokens: int) -> Answer:
        num = int(body.get("n") or 1) if self.options.honours_n else 1
        seed = body.get("seed")
        first = self.stats.by_prompt[text] if seed is None else int(seed)
        choices, num_tokens, seconds = [], 0, 0.0
        for index in range(num):
            said = self.complete(text, first + index)
            seconds = max(seconds, self._seconds(said))
            choice, length = self._choice(chat, body, said)
            choices.append({"index": index, **choice})
            num_tokens += length
        self.stats.by_prompt[text] += num
        answer: dict[str, Any] = {
            "id": f"replay-{self.stats.requests}",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": self.options.model,
            "choices": choices,
        }
        if self.options.usage:
            answer["usage"] = {
                "prompt_tokens": num_prompt_tokens,
                "completion_tokens": num_tokens,
                "total_tokens": num_prompt_tokens + num_tokens,
            }
        held = self.holding is not None and self.holding in text
        return Answer(200, json.dumps(answer).encode(), seconds=seconds, completions=num, held=held)

    def _seconds(self, said: Said) -> float:
        """How long a completion takes, whoever asks for it."""
        tail, drawn = self.options.tail, random.Random(digest(said.text, self.options.seed)).gauss()
        return self.options.latency_seconds * math.exp(tail * drawn - tail**2 / 2)

    def _choice(self, chat: bool, body: dict[str, Any], said: Said) -> tuple[dict[str, Any], int]:
        """One choice, and its number of tokens."""
        whole, text, reason = (said.reasoning or "") + said.text, said.text, said.finish_reason
        ends = [self.tokens.end_id] if reason == "stop" else []
        length = self.tokens.count(whole) + len(ends)
        asked = body.get("logprobs")
        with_ids = self.options.token_ids and bool(body.get("return_token_ids"))
        with_logprobs = self.options.logprobs and asked is not None and asked is not False  # 0: the sampled token's
        token_ids: list[int] = []
        if with_ids or with_logprobs or length > _max_tokens(body):
            token_ids = self.tokens.encode(whole) + ends
        if length > _max_tokens(body):
            token_ids, reason, length = token_ids[: _max_tokens(body)], "length", _max_tokens(body)
            text = self.tokens.decode(token_ids)
        choice: dict[str, Any] = {"finish_reason": reason, "logprobs": None}
        if chat:
            choice["message"] = {"role": "assistant", "content": text}
            if said.reasoning is not None:
                choice["message"]["reasoning_content"] = said.reasoning
        else:
            choice["text"] = text
        if with_ids:
            choice["token_ids"] = token_ids
        if with_logprobs:
            choice["logprobs"] = replay_model.told(chat, token_ids, body if self.options.top_logprobs else {})
        return choice, length


def failure(status: int, message: str, *, param: str | None = None, seconds: float = 0.0) -> Answer:
    error = {"message": message, "type": HTTPStatus(status).phrase, "param": param, "code": status}
    return Answer(status, json.dumps({"error": error}).encode(), seconds=seconds)


def _fault(name: str, retry_after: str, seconds: float) -> Answer:
    if name == "torn":
        return Answer(0, b"", seconds=seconds)
    if name == "garbled":
        return Answer(200, b"<html>", seconds=seconds)
    body = failure(int(name), "made up").body
    return Answer(int(name), body, seconds, headers=f"Retry-After: {retry_after}\r\n" if name == "429" else "")


def _max_tokens(body: Mapping[str, Any]) -> int:
    return int(body.get("max_tokens") or body.get("max_completion_tokens") or 16)


def _stats_json(stats: Stats) -> bytes:
    prompts = stats.by_prompt
    counted = {
        "requests": stats.requests,
        "completions": stats.completions,
        "in_flight": stats.in_flight,
        "max_in_flight": stats.max_in_flight,
        "answers": dict(stats.answers),
        "prompts": len(prompts),
        "most_completions_of_a_prompt": max(prompts.values(), default=0),
        "first_at": stats.first_at,
        "last_at": stats.last_at,
    }
    return json.dumps(counted).encode()


def _chat_text(messages: Sequence[Mapping[str, str]]) -> str:
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--completions", type=Path, help="JSON Lines of {question, completions}")
    parser.add_argument("--tokenizer", help="a transformers tokenizer; without it a token is three bytes")
    parser.add_argument("--latency", type=float, default=0.0, dest="latency_seconds")
    for name in ("tail", "rate_limited", "failing", "torn", "garbled", "overflowing"):
        parser.add_argument("--" + name.replace("_", "-"), type=float, default=0.0)
    parser.add_argument("--ignore-n", action="store_false", dest="honours_n")
    parser.add_argument("--no-token-ids", action="store_false", dest="token_ids")
    parser.add_argument("--no-logprobs", action="store_false", dest="logprobs")
    parser.add_argument("--refuse", nargs="*", default=(), dest="refused", metavar="PARAMETER")
    for name, default in (("model", "replay"), ("key", ""), ("owner", "replay")):
        parser.add_argument("--" + name, default=default)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


async def _serve(server: ReplayServer) -> None:
    """Serve, and print the address once it can be reached."""
    started = threading.Event()
    serving = asyncio.create_task(server.serve(started))
    while not started.is_set() and not serving.done():
        await asyncio.sleep(0)
    print(server.url, flush=True)
    await serving


def main() -> None:
    arguments = vars(_arguments())
    port, path, tokenizer = (arguments.pop(name) for name in ("port", "completions", "tokenizer"))
    tokens: Tokens | None = None
    if tokenizer:
        from distill.models import load_tokenizer

        tokens = ModelTokens(load_tokenizer(tokenizer))
    complete = recorded(map(json.loads, path.read_text("utf-8").splitlines())) if path else written
    options = Options(**{**arguments, "refused": frozenset(arguments["refused"])})
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(ReplayServer(options, complete, tokens, port=port)))


if __name__ == "__main__":
    main()
