"""One thing that was looked at, and how a look that fails becomes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from distill.errors import DistillError

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Status
    detail: str
    hint: str = ""
    """What to do about it, where it is not ok."""


def guarded(name: str, look: Callable[[], Check]) -> Check:
    """What a look finds, or that it could not look, with the error's own hint."""
    try:
        return look()
    except DistillError as error:
        return Check(name, "failed", str(error), error.hint)
    except (OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        return Check(name, "failed", reason, "DISTILL_DEBUG=1 shows where it happened")


def size(num_bytes: float) -> str:
    """A number of bytes as people say it.

    >>> size(1.53e9), size(141e9), size(2.6e6)
    ('1.5 GB', '141 GB', '2.6 MB')
    """
    unit, value = ("GB", num_bytes / 1e9) if num_bytes >= 1e9 else ("MB", num_bytes / 1e6)
    return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
