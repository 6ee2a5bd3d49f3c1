"""A line to a child and a line back, both within one deadline, on systems with and without ``poll``.

A child may be stuck before it has read a long request as well as before it has answered, so both
directions are awaited. Without ``poll`` (Windows) a thread talks to the child; whoever gives up
kills the child, which ends the thread.
"""

from __future__ import annotations

import os
import queue
import select
import subprocess
import threading
import time
from typing import IO

HAS_POLL = hasattr(select, "poll")
CHUNK_BYTES = 65536
MAX_REPLY_BYTES = 1 << 20  # a verdict is short; whatever sends more is not answering


def exchange(process: subprocess.Popen[bytes], request: bytes, seconds: float) -> bytes:
    """The line with which a child answers a line.

    Raises:
        TimeoutError: it does not answer in time.
        EOFError: it ended, or answers no line.
    """
    writer, reader = process.stdin, process.stdout
    if writer is None or reader is None or writer.closed or reader.closed:
        raise EOFError
    try:
        reply = (_by_poll if HAS_POLL else _by_thread)(writer, reader, request, seconds)
    except TimeoutError:
        raise
    except OSError:
        raise EOFError from None
    if not reply.endswith(b"\n"):
        raise EOFError
    return reply


def _by_poll(writer: IO[bytes], reader: IO[bytes], request: bytes, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    os.set_blocking(writer.fileno(), False)
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    poller.register(writer, select.POLLOUT)
    unsent, received = memoryview(request), b""
    while not received.endswith(b"\n") and len(received) <= MAX_REPLY_BYTES:
        ready = poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            raise TimeoutError
        if any(pipe == writer.fileno() for pipe, _ in ready):
            unsent = unsent[os.write(writer.fileno(), unsent) :]
            if not unsent:
                poller.unregister(writer)
        else:
            chunk = os.read(reader.fileno(), CHUNK_BYTES)
            if not chunk:
                break
            received += chunk
    return received


def _by_thread(writer: IO[bytes], reader: IO[bytes], request: bytes, seconds: float) -> bytes:
    replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_talk, args=(writer, reader, request, replies), daemon=True).start()
    try:
        return replies.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None


def _talk(writer: IO[bytes], reader: IO[bytes], request: bytes, replies: queue.SimpleQueue[bytes]) -> None:
    received = b""
    try:
        unsent = memoryview(request)
        while unsent:
            unsent = unsent[writer.write(unsent) :]
        while not received.endswith(b"\n") and len(received) <= MAX_REPLY_BYTES:
            chunk = reader.read(CHUNK_BYTES)
            if not chunk:
                break
            received += chunk
    except (OSError, ValueError):  # the child ended; ValueError: its pipes are closed already
        received = b""
    replies.put(received)
