"""Fingerprints: what bytes on disk depend on, and nothing else.

Settings are nested mappings of plain values. They are stored readable beside what was made with them, so that a
mismatch can name the keys that differ; their hash is the fingerprint. Time stamps are never part of one: a copy on
another machine is the same thing, a file that was written again with other content is not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

CHUNK_BYTES = 2**20
SAMPLED_CHUNKS = 64
"""Chunks that are read of a large file of weights."""


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = _Missing()
"""Stands for the value of a key that is not there; no setting is equal to it."""
Difference = tuple[str, Any, Any]
"""Dotted name, value before, value now."""


def plain(settings: Any) -> Any:
    """Settings as JSON would give them back: tuples are lists, keys are texts."""
    return json.loads(json.dumps(settings, sort_keys=True))


def fingerprint(settings: Any) -> str:
    """A short hash of nested settings; the order of keys does not matter.

    >>> fingerprint({"a": 1, "b": (2, 3)}) == fingerprint({"b": [2, 3], "a": 1})
    True
    """
    return blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Every leaf that differs, as (dotted name, old value, new value), by name.

    A list is a leaf, and so is a mapping that stands where the other side has none.

    >>> differences({"a": {"b": 1, "c": (2,)}}, {"a": {"b": 1, "c": [3]}, "d": 4})
    [('a.c', [2], [3]), ('d', nothing, 4)]
    """
    return list(_differences(plain(old), plain(new), ""))


def mismatch(folder: Path, differing: Iterable[Difference]) -> str:
    """How a refusal to go on with a run of other settings reads.

    >>> mismatch(Path("runs/first"), [("seed", 0, 1), ("lora", MISSING, {"rank": 4})])
    "'runs/first' holds a run with other settings: seed was 0, is 1; lora was nothing, is {'rank': 4}"
    """
    changes = "; ".join(f"{name} was {before!r}, is {now!r}" for name, before, now in differing)
    return f"'{folder}' holds a run with other settings: {changes}"


def file_fingerprint(path: Path) -> str:
    """A short hash of a file's content; its name and dates do not matter."""
    digest = blake2b(digest_size=8)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def folder_fingerprint(folder: Path, counts: Callable[[Path], bool]) -> str:
    """A short hash of the names, sizes and contents of those files in a folder that count.

    Of files over 64 MiB only 64 chunks of 1 MiB, evenly spread from the first byte to the last, are read: weights
    are many gigabytes, and those of another model or a later checkpoint differ nearly everywhere.
    """
    digest = blake2b(digest_size=8)
    for path in sorted(entry for entry in folder.iterdir() if entry.is_file() and counts(entry)):
        size = path.stat().st_size
        digest.update(os.fsencode(path.name) + f"\0{size}\0".encode())
        with path.open("rb") as file:
            for start in _chunk_starts(size):
                file.seek(start)
                digest.update(file.read(CHUNK_BYTES))
    return digest.hexdigest()


def _chunk_starts(size: int) -> Iterable[int]:
    if size <= SAMPLED_CHUNKS * CHUNK_BYTES:
        return range(0, size, CHUNK_BYTES)
    return (number * (size - CHUNK_BYTES) // (SAMPLED_CHUNKS - 1) for number in range(SAMPLED_CHUNKS))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> Iterator[Difference]:
    for key in sorted({*old, *new}):
        before, now = old.get(key, MISSING), new.get(key, MISSING)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _differences(before, now, f"{prefix}{key}.")
        elif before != now:
            yield prefix + key, before, now
