"""The ``distill`` command: run it and turn what a user can put right into one line and a hint."""

from __future__ import annotations

import os
import sys

from distill.errors import DistillError


def main() -> None:
    """Run the command line; exit 0 done, 1 a DistillError, 2 wrong usage."""
    from distill.cli import app

    # Threads that wait for work sleep instead of spinning. On a machine that others use too, two spinning threads
    # made sampling ten times slower; it has to be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app(prog_name="distill")
    except DistillError as error:
        if os.environ.get("DISTILL_DEBUG") == "1":
            raise
        from distill.terminal import show_error

        show_error(error)
        sys.exit(1)
    except BrokenPipeError:  # 'distill inspect … | head' closed the pipe: that is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
