"""The ``distill`` command: run it and turn what a user can put right into one line and a hint."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

from distill.errors import DistillError

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main() -> None:
    """Run the command line; exit 0 done, 1 what a user can put right, 2 wrong usage."""
    from distill.cli import app

    _prepare_streams()
    if str(Path.cwd()) not in sys.path:  # parts of one's own lie here; last, so that no file hides a package
        sys.path.append(str(Path.cwd()))
    # Threads that wait for work sleep instead of spinning. On a machine that others use too, two spinning threads
    # made sampling ten times slower; it has to be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app(prog_name="distill")
    except DistillError as error:
        _fail(error)
    except OSError as error:  # a full disk, a folder of somebody else: the machine's word, not a bug of ours
        if error.errno is None:
            raise
        _fail(_explained(error))


def _prepare_streams() -> None:
    """Let no output fail for a terminal that lacks a character, or for a stream that the caller has closed."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (until the process ends)


def _explained(error: OSError) -> DistillError:
    where = f"'{error.filename}': " if error.filename else ""
    reason = error.strerror or type(error).__name__
    if error.errno in FULL_DISK:
        hint = "what was finished is kept: make room, then run the same command again"
    elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        hint = "is it yours to read and to write? --out names another folder"
    else:
        hint = "DISTILL_DEBUG=1 shows where it happened"
    return DistillError(f"{where}{reason[:1].lower()}{reason[1:]}", hint=hint)


def _fail(error: DistillError) -> None:
    """End with status 1 and the error in one line; with DISTILL_DEBUG=1 by its traceback."""
    if os.environ.get("DISTILL_DEBUG") == "1":
        raise error
    from distill.terminal import show_error

    show_error(error)
    sys.exit(1)


if __name__ == "__main__":
    main()
