"""An evaluation that is killed goes on where it was; ``benchmarks/chaos_eval.py`` does it many times over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evals_chaos import Trial, after, evaluate_with_kills, same_evaluation


@pytest.mark.slow
def test_an_evaluation_that_was_killed_equals_one_that_never_was(tmp_path: Path) -> None:
    whole, killed = Trial(tmp_path / "whole", limit=16), Trial(tmp_path / "killed", limit=16)
    assert evaluate_with_kills(whole, iter(())) == []
    moments = [after(3, 0.0), after(20, 0.003), Trial.is_reporting]
    assert len(evaluate_with_kills(killed, iter(moments))) >= 2  # a report may be written faster than we can look
    same_evaluation(whole, killed)
