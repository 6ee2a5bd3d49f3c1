"""Curation from end to end: what comes out of problems, completions and scores."""

from __future__ import annotations

import json

import datasets
import pyarrow.parquet as pq
import pytest

from distill.config import (
    CurateConfig,
    EntropiesConfig,
    SamplingConfig,
    SourceConfig,
    TeacherConfig,
)
from distill.curate.dataset import load_groups, open_dataset, read_manifest
from distill.curate.pipeline import curate_dataset, score_run
from distill.curate.preparation import stored_problems
from distill.curate.run_dir import read_config
from distill.errors import DistillError
from tests.curate_parts import (
    PROBLEMS,
    SCRIPTED,
    ScriptedBackend,
    recorded_config,
    scripted,
    stored_ids,
    write_jsonl,
)
from tests.tiny import save_tiny


@pytest.fixture(autouse=True)
def script():
    ScriptedBackend.script()


@pytest.fixture
def recorded(tmp_path):
    return recorded_config(tmp_path)


def test_recorded_completions_become_scored_groups_by_hand(tmp_path, recorded):
    result = curate_dataset(recorded, tmp_path / "run")
    groups = {group.problem.id: (group, scores) for group, scores in load_groups(tmp_path / "run")}
    assert list(groups) == ["a", "b", "c", "d"]  # source order; the file has b first
    group, scores = groups["a"]
    assert [verdict.outcome.value for verdict in scores.verdicts] == ["correct", "correct", "incorrect"]
    # cosine 1, 0.75 and -0.75, twice; the first is well formed: 2 + 1, 1.5, -1.5
    assert scores.rewards == (3.0, 1.5, -1.5)
    # mean 1; squares 4 + 0.25 + 6.25 = 10.5; std sqrt(10.5 / 2)
    assert scores.advantages == pytest.approx([value / (5.25**0.5 + 1e-4) for value in (2.0, 0.5, -2.5)], rel=1e-6)
    assert scores.reward_parts["format"] == (1.0, 0.0, 0.0)
    assert (group.teacher, group.completions[1].num_tokens) == ("somebody", 1024)
    assert {name: scored.drop_reason for name, (_, scored) in groups.items()} == {
        "a": "", "b": "no_correct", "c": "no_completions", "d": "",
    }  # fmt: skip
    assert groups["d"][1].advantages == (0.0,)
    assert groups["d"][1].rewards == (1.0,)  # 2 * 0.5, as long as the schedule and longer
    assert (result.problems, result.unsampled, result.stats.kept) == (4, 0, 2)


def test_rejected_problems_are_listed_with_reasons_and_never_sampled(tmp_path, recorded):
    result = curate_dataset(recorded, tmp_path / "run")
    rows = pq.read_table(tmp_path / "run" / "problems.parquet").to_pylist()
    rejected = {row["id"]: row["reject_reason"] for row in rows if row["reject_reason"]}
    assert rejected == {"bad": "missing_answer", "unread": "gold_unparsed"}
    assert result.rejected == {"missing_answer": 1, "gold_unparsed": 1}
    problems = stored_problems(tmp_path / "run" / "problems.parquet")
    assert [problem.id for problem in problems] == ["a", "b", "c", "d"]
    assert len(problems.indices) == 4
    assert sorted(stored_ids(tmp_path / "run")) == ["a", "b", "c", "d"]


def test_a_run_leaves_the_files_that_tell_what_it_was(tmp_path):
    run = tmp_path / "run"
    result = curate_dataset(SCRIPTED, run)
    assert sorted(path.name for path in run.iterdir()) == [
        ".lock", "completions", "config.yaml", "dataset", "events.jsonl", "problems.parquet", "report.json", "run.json", "scores",
    ]  # fmt: skip
    shard = run / "completions" / "00000-of-00001"
    assert sorted(path.name for path in shard.iterdir()) == ["DONE", "part-000000.parquet", "stage.json", "wal.jsonl"]
    assert read_config(run) == SCRIPTED
    report = json.loads((run / "report.json").read_text())
    assert report["problems"] == {"listed": 10, "rejected": {}, "unsampled": 0}
    assert report["dataset"]["groups"] == 10
    manifest = json.loads((run / "dataset" / "manifest.json").read_text())
    assert (manifest["rows"], manifest["about"]["licence"], manifest["reward_parts"]) == (
        10,
        "Apache-2.0",
        ["cosine", "format"],
    )
    assert manifest["run_id"] == open_dataset(run)[0]["run_id"] == result.stats.run_id
    assert datasets.load_from_disk(run / "dataset")["index"][:] == list(range(10))


def test_pass_rates_and_dropped_groups(tmp_path):
    stats = curate_dataset(SCRIPTED, tmp_path).stats
    # problem i has i mod 5 right of 4: ten problems, two of each
    assert stats.pass_rates == (2, 2, 2, 2, 2)
    assert stats.dropped == {"no_correct": 2}


def test_progress_counts_every_stage_to_its_total(tmp_path):
    calls = []
    curate_dataset(SCRIPTED, tmp_path, progress=lambda *call: calls.append(call))
    for stage in ("sampling", "scoring", "dataset"):
        advances = [advance for name, advance, _ in calls if name == stage]
        assert sum(advances) == 10
        assert {total for name, _, total in calls if name == stage} == {10}
    assert sum(advance for name, advance, _ in calls if name == "problems") == 10


def test_a_run_without_any_group_says_why(tmp_path):
    path = write_jsonl(tmp_path / "problems.jsonl", [PROBLEMS[4]])
    with pytest.raises(DistillError, match="no group") as caught:
        curate_dataset(scripted(source=SourceConfig(name=str(path))), tmp_path / "run")
    assert "gold_unparsed (1)" in caught.value.hint


def test_inline_entropies_are_refused_before_the_first_token_where_there_are_none(tmp_path):
    with pytest.raises(DistillError, match="cannot measure entropies while sampling"):
        curate_dataset(scripted(entropies=EntropiesConfig(mode="inline")), tmp_path)
    assert ScriptedBackend.asked == []


def test_entropies_measured_later_equal_those_measured_while_sampling(tmp_path):
    inline = CurateConfig(
        source=SourceConfig(name="arithmetic", limit=3),
        teacher=TeacherConfig(model=str(save_tiny(tmp_path / "teacher")), device="cpu"),
        sampling=SamplingConfig(num_completions=2, max_new_tokens=16),
        filters=(),
    )
    later = inline.model_copy(update={"entropies": EntropiesConfig(mode="prefill")})
    curate_dataset(inline, tmp_path / "inline")
    curate_dataset(later, tmp_path / "later")
    for (sampled, _), (measured, _) in zip(
        load_groups(tmp_path / "inline"), load_groups(tmp_path / "later"), strict=True
    ):
        assert (sampled.entropy_kind, measured.entropy_kind) == ("exact", "exact")
        for one, other in zip(sampled.completions, measured.completions, strict=True):
            assert one.token_ids == other.token_ids
            assert len(one.token_ids) == len(one.entropies) == len(one.logprobs)
            assert one.entropies == pytest.approx(other.entropies, abs=2**-8)
            assert one.logprobs == pytest.approx(other.logprobs, abs=2**-7)


def test_weights_that_are_not_the_teachers_are_found_out_and_recorded(tmp_path, caplog):
    config = CurateConfig(
        source=SourceConfig(name="arithmetic", limit=3),
        teacher=TeacherConfig(model=str(save_tiny(tmp_path / "teacher")), device="cpu"),
        sampling=SamplingConfig(num_completions=2, max_new_tokens=16),
        entropies=EntropiesConfig(mode="prefill"),
        filters=(),
    )
    own = curate_dataset(config, tmp_path / "own")
    assert (own.entropies.kinds, own.entropies.compared, own.entropies.mismatched) == ({"exact": 3}, 3, 0)
    assert own.entropies.mismatch_max < 1e-2  # what was sampled with is stored in half precision
    assert caplog.text == ""
    other = EntropiesConfig(mode="prefill", model=str(save_tiny(tmp_path / "other", seed=1)))
    told = score_run(own.run, config.model_copy(update={"entropies": other}))
    assert (told.entropies.compared, told.entropies.mismatched) == (3, 3)
    assert told.entropies.mismatch_mean > 0.5
    assert "may be other weights, another chat template" in caplog.text
    assert read_manifest(told.dataset)["entropies"] == told.entropies.to_json()
    assert json.loads((own.run / "report.json").read_text())["entropies"] == told.entropies.to_json()
    rows = open_dataset(told.dataset)
    assert min(rows["logprob_mismatch"]) > 0.3
    assert all(row["logprob_mismatch"] <= row["logprob_mismatch_max"] for row in rows)


def test_entropies_need_token_ids(tmp_path, recorded):
    config = recorded.model_copy(update={"entropies": EntropiesConfig(mode="prefill")})
    with pytest.raises(DistillError, match="no entropies can be measured"):
        curate_dataset(config, tmp_path / "run")
