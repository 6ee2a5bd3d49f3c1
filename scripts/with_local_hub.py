"""Run a command with a Hub of its own on this machine: ``python scripts/with_local_hub.py distill publish ...``.

It is the Hub of the tests: it begins empty, knows one user, 'me', who may write, and is gone when the command ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.hub_server import serve_hub

TOKEN = "hf_of_the_local_hub"


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: python scripts/with_local_hub.py COMMAND ...")
    with serve_hub() as hub, tempfile.TemporaryDirectory() as home:
        hub.tokens[TOKEN] = ("me", "write")
        environment = os.environ | hub.environment(home) | {"HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
        sys.exit(subprocess.run(sys.argv[1:], env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
