"""The versions that the figures of an evaluation depend on."""

from __future__ import annotations

import platform
from importlib.metadata import version

import distill
from distill.verifiers import Judge


def evaluation_versions(judge: Judge) -> dict[str, str]:
    """The versions of what samples and judges."""
    return {**package_versions(), **judge.versions()}


def package_versions(*others: str) -> dict[str, str]:
    """The versions of what samples, and of other packages."""
    ours = {"distill": distill.__version__, "python": platform.python_version()}
    return {**ours, **{name: version(name) for name in ("torch", "transformers", *others)}}
