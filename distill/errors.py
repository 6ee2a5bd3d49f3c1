"""The one error that a user can put right."""

from __future__ import annotations


class DistillError(Exception):
    """Say in one line what was found, where and what was expected; ``hint`` says what to do next.

    The command line prints both without a traceback and exits with status 1. Anything else that
    is raised is a bug of ours and keeps its traceback.

    >>> error = DistillError("data/gsm8k has no column 'rewards'", hint="run 'distill score' first")
    >>> str(error), error.hint
    ("data/gsm8k has no column 'rewards'", "run 'distill score' first")
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
