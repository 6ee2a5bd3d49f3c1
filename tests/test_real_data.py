"""Real completions through the whole of curation, as somebody who brings their own does it."""

from __future__ import annotations

import json
from pathlib import Path

from distill import curate_dataset, load_groups
from distill.config import ColumnsConfig, CurateConfig, RecordedConfig, SourceConfig, TeacherConfig, VerifierConfig

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def test_four_models_on_gsm8k_are_judged_as_their_authors_did(shared_data: Path, tmp_path: Path) -> None:
    # 1,319 problems, a completion of each model in a column of its own, labelled by hand-written rules of its authors.
    path = shared_data / "gsm8k" / "example_model_solutions.jsonl"
    config = CurateConfig(
        source=SourceConfig(name=str(path), columns=ColumnsConfig(answer="ground_truth"), answer_after="A:"),
        teacher=TeacherConfig(backend="recorded"),
        recorded=RecordedConfig(
            path=str(path),
            completions=tuple(f"{model}.solution" for model in MODELS),
            models=MODELS,
            tokenizer="tiny-teacher",
        ),
        verifier=VerifierConfig(kind="number", markers=("A:",)),
    )
    result = curate_dataset(config, tmp_path / "run")
    assert (result.problems, result.rejected, result.unsampled) == (1_319, {}, 0)

    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    labels = [[row[model]["is_correct"] for model in MODELS] for row in rows]
    groups = list(load_groups(tmp_path / "run"))
    assert [group.problem.question for group, _ in groups] == [row["question"].strip() for row in rows]
    assert [[verdict.outcome == "correct" for verdict in scores.verdicts] for _, scores in groups] == labels
    assert [[completion.model for completion in group.completions] for group, _ in groups] == [list(MODELS)] * 1_319

    # What follows from the verdicts: a group is kept for one correct completion, and only a mixed one ranks by it.
    assert result.stats.outcomes == {"correct": 2_001, "incorrect": 3_265, "no_answer": 10, "unverified": 0}
    assert [scores.kept for _, scores in groups] == [any(of_group) for of_group in labels]
    for (_, scores), of_group in zip(groups, labels, strict=True):
        worst = min((a for a, right in zip(scores.advantages, of_group, strict=True) if right), default=0.0)
        best = max((a for a, right in zip(scores.advantages, of_group, strict=True) if not right), default=0.0)
        assert worst > best or all(of_group) or not any(of_group)
