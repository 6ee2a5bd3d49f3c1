"""What a user's program makes of every public name, and of which type a type checker has to know it to be."""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import distill
from distill.curate.pipeline import CurateResult
from distill.curate.stats import Stats
from distill.curate.trl_reward import TrlReward
from distill.evals.compare import Comparison
from distill.evals.report import Report
from distill.publish.export import ExportResult
from distill.publish.hub import PublishResult
from distill.records import Group, GroupScores, Verdict
from distill.train.merging import MergeReport
from distill.train.report import TrainReport


def journey(runs: Path) -> None:
    recipe = distill.CurateConfig.model_validate({"source": {"name": "arithmetic", "limit": 100}})
    assert_type(distill.__version__, str)
    assert_type(recipe, distill.CurateConfig)
    assert_type(distill.verify(r"\boxed{\frac{1}{2}}", "0.5"), Verdict)
    assert_type(distill.curate_dataset(recipe, runs / "groups"), CurateResult)
    assert_type(distill.score_run(runs / "groups", recipe), CurateResult)
    assert_type(distill.load_groups(runs / "groups"), Iterator[tuple[Group, GroupScores]])
    assert_type(distill.inspect_dataset(runs / "groups"), Stats)
    assert_type(distill.export_dataset(runs / "groups", "sft", runs / "sft"), ExportResult)
    assert_type(distill.as_trl_reward(recipe), TrlReward)
    assert_type(distill.publish_dataset(runs / "groups", "me/groups", licence="mit"), PublishResult)
    student = distill.TrainConfig(dataset=str(runs / "groups"), method="sft")
    assert_type(distill.train_student(student, runs / "student"), TrainReport)
    assert_type(
        distill.publish_model(runs / "student", "me/student", distill.ModelOptions("mit"), dry_run=True), PublishResult
    )
    assert_type(distill.merge_adapter(runs / "student", runs / "merged"), MergeReport)
    judged = distill.EvalConfig(model=str(runs / "student"), benchmarks=("arithmetic",))
    assert_type(distill.evaluate(judged, runs / "report"), list[Report])
    try:
        assert_type(distill.compare_reports([runs / "report"]), Comparison)
    except distill.DistillError as error:
        assert_type(error.hint, str)
