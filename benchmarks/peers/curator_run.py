"""Bespoke Curator: a row for each completion, since it keeps the first of a request; the faster of its two clients.

Its 'openai' client wants a vocabulary from the web, of which its other client, litellm, has brought a copy. Its limits
on requests and tokens a minute are set out of the way, and its cache, which lets a run be resumed, is on as always.
Verdicts are given where its examples give them: in ``parse``.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

litellm = find_spec("litellm")
assert litellm is not None
assert litellm.origin is not None
out = Path(sys.argv[3])
os.environ |= {
    "CURATOR_CACHE_DIR": str(out / "cache"),
    "OPENAI_API_KEY": "none",
    "TIKTOKEN_CACHE_DIR": str(Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"),
    "TELEMETRY_ENABLED": "0",
    "CURATOR_VIEWER": "0",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}

from bespokelabs import curator  # noqa: E402 (reads the environment)


class Teacher(curator.LLM):
    """One completion for each row, and its verdict."""

    def prompt(self, row: dict[str, Any]) -> str:
        """What is asked."""
        return str(row["question"])

    def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
        """The row with its completion and the verdict on it."""
        from judge import score

        return {**row, "completion": response, "score": score(response, row["answer"])}


def main(problems: Path, url: str, in_flight: int, num_completions: int) -> None:
    """Curate and print how many completions were judged."""
    rows = [json.loads(line) for line in problems.read_text("utf-8").splitlines()]
    limits = {
        "max_requests_per_minute": 10**7,
        "max_tokens_per_minute": 10**10,
        "max_concurrent_requests": in_flight,
        "require_all_responses": False,
    }
    teacher = Teacher(
        model_name="replay",
        backend="openai",
        backend_params={"base_url": url, **limits},
        generation_params={"temperature": 0.9, "max_tokens": 2048},
    )
    made = teacher([{**row, "place": place} for row in rows for place in range(num_completions)])
    made = getattr(made, "dataset", made)  # newer releases wrap it
    made.save_to_disk(str(out / "dataset"))
    print(json.dumps({"completions": len(made), "correct": sum(made["score"])}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[4]) * int(sys.argv[5]), int(sys.argv[5]))
