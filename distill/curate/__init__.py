"""Curation: problems in, groups of scored completions out, in a run folder that survives a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with a stage's name, how far it has advanced since the last call, and its total where that is known."""
