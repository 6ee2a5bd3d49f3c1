"""What a piece of code loads, for tests of what stays out of a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def loaded_modules(code: str) -> set[str]:
    """Names of all modules that a new process has loaded after running this code."""
    listed = f"{code}\nimport sys\nprint()\nprint(*sys.modules)\n"
    done = subprocess.run(
        [sys.executable, "-c", listed], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())
