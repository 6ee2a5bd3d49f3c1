"""Fingerprints: what the bytes of a stage depend on, and nothing else.

Settings are nested mappings of plain values. They are stored readable in run.json, so that a mismatch can name the
keys that differ; their hash is the stage's fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

MISSING = "nothing"
CHUNK_BYTES = 2**20
SAMPLED_CHUNKS = 64
"""Chunks that are read of a large file of weights."""


def plain(settings: Any) -> Any:
    """Settings as JSON would give them back: tuples are lists, keys are texts."""
    return json.loads(json.dumps(settings, sort_keys=True))


def fingerprint(settings: Any) -> str:
    """A short hash of nested settings; the order of keys does not matter.

    >>> fingerprint({"a": 1, "b": (2, 3)}) == fingerprint({"b": [2, 3], "a": 1})
    True
    """
    return blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Every leaf that differs, as (dotted name, old value, new value).

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4})
    [('a.c', 2, 3), ('d', 'nothing', 4)]
    """
    before, after = dict(_leaves("", old)), dict(_leaves("", new))
    keys = [*before, *(key for key in after if key not in before)]
    return [
        (key, before.get(key, MISSING), after.get(key, MISSING))
        for key in keys
        if before.get(key, MISSING) != after.get(key, MISSING)
    ]


def file_fingerprint(path: Path) -> str:
    """A short hash of a file's content; its name and dates do not matter."""
    digest = blake2b(digest_size=8)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def folder_fingerprint(folder: Path) -> str:
    """A short hash of a model's folder: the names, sizes and contents of its files.

    Of files over 64 MiB only 64 chunks of 1 MiB, evenly spread, are read: weights are many gigabytes, and
    those of another model or a later checkpoint differ nearly everywhere.
    """
    digest = blake2b(digest_size=8)
    for path in sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        stride = max(CHUNK_BYTES, (size - CHUNK_BYTES) // (SAMPLED_CHUNKS - 1))
        with path.open("rb") as file:
            for start in range(0, size, stride):
                file.seek(start)
                digest.update(file.read(CHUNK_BYTES))
    return digest.hexdigest()


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else str(key), inner)
    else:
        yield prefix, value
