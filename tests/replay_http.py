"""HTTP/1.1 with keep-alive on asyncio, as much of it as a replay server needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    """0 cuts the connection in the middle of an answer."""
    body: bytes
    seconds: float = 0.0
    """Until it is sent, since the request came."""
    headers: str = ""
    completions: int = 0
    held: bool = False
    """Whether it is sent only when the server lets go of it."""


class Server(Protocol):
    """What a connection needs of the server behind it."""

    connections: set[Connection]

    def answer(self, request: Request) -> Answer: ...

    def hold(self, send: Callable[[], None]) -> None:
        """Keep an answer back."""
        ...

    def count(self, request: Request, outcome: str, completions: int) -> None:
        """Take note of how a request ended: with a status, 'torn' by the server, or 'gone' with its client."""
        ...


class Connection(asyncio.Protocol):
    """One client: requests are read one after the other and answered in their order."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = bytearray()
        self._open: Request | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        request, self._open = self._open, None
        if request is not None:
            self._server.count(request, "gone", 0)

    def cut(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def _next(self) -> None:
        head_end = self._buffer.find(b"\r\n\r\n")
        if self._open is not None or head_end < 0:
            return
        first, *lines = self._buffer[:head_end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        end = head_end + 4 + int(headers.get("content-length", 0))
        if len(self._buffer) < end:
            return
        method, path, _ = first.split(" ", 2)
        self._open = Request(method, path, headers, bytes(self._buffer[head_end + 4 : end]))
        del self._buffer[:end]
        loop = asyncio.get_running_loop()
        came = loop.time()
        answer = self._server.answer(self._open)
        if answer.held:
            self._server.hold(lambda: self._send(answer))
        else:
            self._timer = loop.call_at(came + answer.seconds, self._send, answer)

    def _send(self, answer: Answer) -> None:
        request, self._open, self._timer = self._open, None, None
        if request is None:  # the client went away before
            return
        if answer.status == 0:
            self._server.count(request, "torn", 0)
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            self._transport.close()
            return
        self._server.count(request, str(answer.status), answer.completions)
        closing = request.headers.get("connection", "").lower() == "close"
        head = (
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(answer.body)}\r\n"
            f"{answer.headers}Connection: {'close' if closing else 'keep-alive'}\r\n\r\n"
        )
        self._transport.write(head.encode() + answer.body)
        if closing:
            self._transport.close()
        else:
            self._next()
