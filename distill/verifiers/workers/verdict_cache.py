"""What the engine has said, by content: in memory, and where asked for in a file that outlives the run.

A key is the SHA-256 of all that a reply depends on: both texts as the engine reads them, the options, the versions
of the libraries, and the revision of our own side. Time-outs and whatever else could not be told are remembered in
memory only, because they say as much of the limits and the machine as of the texts; that a worker died is forgotten.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from distill.verifiers.versions import engine_versions
from distill.verifiers.workers.verdict_store import Said, VerdictStore

REVISION = 2
"""Of ``engine_process``; one more whenever it may say something else about the same texts."""
MAX_REMEMBERED = 65_536  # about 20 MB
MAX_WAIT_SECONDS = 10.0  # for a thread that asks the same already; asking twice is a waste, but not wrong
TOLD = {"", "gold_unparsed", "answer_unparsed"}
"""Reasons that, without a verdict, are the last word all the same."""


def content_key(gold: str, answer: str | None, options: Mapping[str, Any]) -> bytes:
    """The key of a comparison.

    >>> content_key("1", "2", {}) == content_key("1", "2", {}), content_key("1", "2", {}) == content_key("2", "1", {})
    (True, False)
    """
    content = [REVISION, engine_versions(), gold, answer, options]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


class VerdictCache:
    """Remembers what was said, the least recently used goes first; of threads that ask the same at once one asks."""

    def __init__(self, store: VerdictStore | None = None, max_remembered: int = MAX_REMEMBERED) -> None:
        self._store = store
        self._max_remembered = max_remembered
        self._renew()

    def _renew(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._remembered: OrderedDict[bytes, Said] = OrderedDict()
        self._asking: dict[bytes, threading.Lock] = {}  # each is held by the thread that asks

    def get(self, key: bytes, ask: Callable[[], Said]) -> Said:
        """What is remembered under this key, else what ``ask`` says."""
        if os.getpid() != self._owner:
            self._renew()
        mine = threading.Lock()
        mine.acquire()
        try:
            while True:
                with self._lock:
                    if key in self._remembered:
                        self._remembered.move_to_end(key)
                        return self._remembered[key]
                    other = self._asking.setdefault(key, mine)
                if other is mine or not other.acquire(timeout=MAX_WAIT_SECONDS):
                    return self._ask(key, ask)
                other.release()
        finally:
            with self._lock:
                if self._asking.get(key) is mine:
                    del self._asking[key]
            mine.release()

    def peek(self, key: bytes) -> Said | None:
        """What is remembered in memory under this key, without waiting for anybody."""
        with self._lock:
            return self._remembered.get(key)

    def close(self) -> None:
        """Close the file, which opens again when it is needed; the memory stays."""
        if self._store is not None:
            self._store.close()

    def _ask(self, key: bytes, ask: Callable[[], Said]) -> Said:
        said = self._store.read(key) if self._store is not None else None
        if said is None:
            said = ask()
            if self._store is not None and (said[0] is not None or said[1] in TOLD):
                self._store.write(key, said)
        if said[1] != "worker_died":
            with self._lock:
                self._remembered[key] = said
                if len(self._remembered) > self._max_remembered:
                    self._remembered.popitem(last=False)
        return said
