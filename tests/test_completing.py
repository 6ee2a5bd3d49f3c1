"""What a shell offers for a half-typed name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

OFFERED = {
    "distill cur": {"curate"},
    "distill curate gsm": {"gsm8k"},
    "distill curate prob": {"problems.jsonl"},
    "distill curate gsm8k --rec": {"--recipe"},
    "distill train runs/x --recipe slowed-bloom-c": {"slowed-bloom-cascod"},
    "distill train runs/x --recipe my": {"my.yaml"},
    "distill train runs/x --method adv": {"advdistill"},
    "distill eval tiny-student -b gsm": {"gsm8k", "gsm_plus"},
    "distill eval tiny-student -b arithmetic:o": {"arithmetic:ood"},
    "distill list ver": {"verifiers"},
    "distill init --backend v": {"vllm"},
}


@pytest.mark.parametrize("typed", OFFERED)
def test_the_shell_offers_the_names_that_begin_so(typed: str, tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").touch()
    (tmp_path / "my.yaml").touch()
    words = typed.split(" ")
    asked = {"_DISTILL_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    environment = os.environ | asked | {"PYTHONPATH": str(Path(__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-m", "distill"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert set(result.stdout.split()) == OFFERED[typed], result.stderr
