"""What a Hub keeps of a repository, and what it says against a card's metadata."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

LICENCES = {
    "apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "odc-by", "gpl-3.0",
    "other", "unknown",
}  # fmt: skip
"""Of the Hub's identifiers those that tests need."""


def commit_id(text: str | bytes) -> str:
    return hashlib.sha1(text.encode() if isinstance(text, str) else text).hexdigest()


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """Branches and tags -> commit ids, and commit ids -> files."""

    revisions: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    """Paths that lie in large-file storage."""
    messages: list[str] = field(default_factory=list)
    private: bool = False

    def add(self, files: Mapping[str, bytes], revision: str, seed: str) -> str:
        commit = commit_id(seed + "".join(f"{path} {blob_id(content)}" for path, content in sorted(files.items())))
        self.commits[commit] = dict(files)
        self.revisions[revision] = commit
        return commit

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.revisions.get(revision, revision)]


def card_errors(card: str) -> list[str]:
    """What the Hub would say against a card's metadata."""
    found = re.match(r"---\s*\n(.*?\n)---\s*(\n|$)", card, re.DOTALL)
    if not found:
        return []
    try:
        metadata = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return [f"the front matter is no YAML: {error}"]
    if metadata is None:
        return []
    if not isinstance(metadata, dict):
        return ["the front matter is no mapping"]
    errors = []
    licences = metadata.get("license", [])
    for licence in licences if isinstance(licences, list) else [licences]:
        if licence not in LICENCES:
            errors.append(f'"license" must be one of {sorted(LICENCES)}, not {licence}')
    if "license_name" in metadata and metadata.get("license") != "other":
        errors.append('"license_name" needs "license: other"')
    for size in metadata.get("size_categories", []):
        if not re.fullmatch(r"n<1K|\d+[KMBT]?<n<\d+[KMBT]|n>1T", size):
            errors.append(f'"size_categories" cannot be {size}')
    names = [config.get("config_name") for config in metadata.get("configs", [])]
    if len(set(names)) < len(names) or sum(bool(config.get("default")) for config in metadata.get("configs", [])) > 1:
        errors.append('"configs" must have names of their own, and one default at most')
    if not all(isinstance(tag, str) for tag in metadata.get("tags") or []):
        errors.append('"tags" must be texts')
    return errors


def content_id(repository: Repository, path: str, content: bytes) -> str:
    """The SHA-256 of a large file, the git blob of another."""
    return hashlib.sha256(content).hexdigest() if path in repository.large else blob_id(content)


def children(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[str]:
    """Folders and files below a folder."""
    prefix = f"{folder}/" if folder else ""
    names: set[str] = set()
    for path in files:
        if path.startswith(prefix):
            parts = path.removeprefix(prefix).split("/")
            depths = range(1, len(parts) + 1) if recursive else [1]
            names |= {prefix + "/".join(parts[:depth]) for depth in depths}
    return sorted(names)


def entry(repository: Repository, files: Mapping[str, bytes], path: str) -> dict[str, Any] | None:
    if path in files:
        content = files[path]
        found: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
        if path in repository.large:
            found["lfs"] = {"oid": content_id(repository, path, content), "size": len(content), "pointerSize": 130}
        return found
    is_folder = any(other.startswith(f"{path}/") for other in files)
    return {"type": "directory", "path": path, "oid": commit_id(path), "size": 0} if is_folder else None
