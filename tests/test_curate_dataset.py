"""The join of a run's stages, how it is read again, and what its numbers say."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from random import Random

import datasets
import numpy as np
import pytest

from distill.curate.chosen import group_detail
from distill.curate.dataset import dataset_folder, load_groups, open_dataset, read_manifest
from distill.curate.index_set import IndexSet
from distill.curate.join import Join, write_dataset
from distill.curate.stage import Stage
from distill.curate.stats import dataset_stats, stats_json
from distill.errors import DistillError
from distill.records import Completion, Group, GroupScores, Outcome, Problem, Verdict
from distill.schema import (
    COMPLETION_COLUMNS,
    ENTROPY_COLUMNS,
    SCHEMA_VERSION,
    arrow_schema,
    dataset_columns,
    group_to_row,
    score_columns,
    scores_to_row,
)
from tests.curate_parts import make_group, make_scores

NUM_GROUPS = 40


def write(folder, groups, scores, *, entropies=None, only=None, part_size=7, **options):
    """Three stages, filled in a shuffled order and cut into parts, and the dataset of them."""
    places = list(range(len(groups)))
    Random(0).shuffle(places)
    parts = tuple(scores[0].reward_parts)
    stages = (
        Stage(folder / "completions", COMPLETION_COLUMNS, "c"),
        Stage(folder / "scores", score_columns(parts), "s"),
        Stage(folder / "entropies", ENTROPY_COLUMNS, "e"),
    )
    for number, place in enumerate(places):
        problem = groups[place].problem
        stages[0].append(group_to_row(groups[place]))
        stages[1].append(scores_to_row(problem, scores[place]))
        if entropies and problem.id in entropies:
            stages[2].append({"id": problem.id, "index": problem.index, **entropies[problem.id]})
        if number % part_size == 0:
            for stage in stages:
                stage.seal()
    for stage in stages:
        stage.seal()
        stage.close()
    indices = IndexSet(only or [group.problem.index for group in groups])
    join = Join([stages[0]], [stages[1]], [stages[2]] if entropies else [], parts, "run-0", options.get("verifier"))
    write_dataset(join, indices, folder / "dataset", {"run_id": "run-0"}, options.get("progress", lambda *_: None))
    return folder / "dataset"


@pytest.fixture(scope="module")
def groups():
    return [make_group(index) for index in range(NUM_GROUPS)]


@pytest.fixture(scope="module")
def scores(groups):
    return [make_scores(group) for group in groups]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, groups, scores):
    return write(tmp_path_factory.mktemp("run"), groups, scores)


def as_float32(values):
    return tuple(None if value is None else float(np.float32(value)) for value in values)


def test_rows_stand_in_source_order_whatever_finished_first(folder):
    dataset = datasets.load_from_disk(folder)
    assert dataset["id"][:] == [f"p/{index}" for index in range(NUM_GROUPS)]
    assert dataset["index"][:] == list(range(NUM_GROUPS))


def test_a_row_joins_what_belongs_together(folder, groups, scores):
    for (group, scored), expected, expected_scores in zip(load_groups(folder), groups, scores, strict=True):
        assert group.problem == expected.problem
        assert group.prompt == expected.prompt
        assert [c.token_ids for c in group.completions] == [c.token_ids for c in expected.completions]
        assert [c.text for c in group.completions] == [c.text for c in expected.completions]
        assert scored.drop_reason == expected_scores.drop_reason
        assert [v.outcome for v in scored.verdicts] == [v.outcome for v in expected_scores.verdicts]
        assert scored.rewards == as_float32(expected_scores.rewards)
        assert scored.advantages == as_float32(expected_scores.advantages)


def test_the_schema_is_ours_and_never_guessed(folder):
    dataset = open_dataset(folder)
    assert dataset.column_names == list(dataset_columns(("cosine",)))
    assert dataset.features["token_entropies"].feature.feature.dtype == "float16"
    assert set(dataset.unique("schema_version")) == {SCHEMA_VERSION}
    assert set(dataset.unique("run_id")) == {"run-0"}


def test_the_datasets_library_finds_the_types_in_the_files(folder):
    loaded = datasets.load_from_disk(folder)
    assert loaded.features["token_logprobs"] == datasets.List(datasets.List(datasets.Value("float16")))
    assert loaded.features == datasets.Features.from_arrow_schema(arrow_schema(dataset_columns(["cosine"])))


def test_entropy_mean_is_over_all_tokens_of_a_group(folder, groups):
    for row, group in zip(open_dataset(folder), groups, strict=True):
        values = [entropy for completion in group.completions for entropy in completion.entropies]
        # float16 steps are 2^-9 between 2 and 4; a mean of rounded values is off by less than half of one
        assert row["entropy_mean"] == pytest.approx(sum(values) / len(values), abs=2**-10)


def test_a_later_pass_replaces_what_sampling_left_of_entropies(tmp_path):
    plain = [make_group(index, with_entropies=False) for index in range(9)]
    exact = make_group(4)
    measured = {
        "p/4": {
            "token_logprobs": [list(c.logprobs) for c in exact.completions],
            "token_entropies": [list(c.entropies) for c in exact.completions],
            "logprob_mismatch": 0.25,
            "logprob_mismatch_max": 1.5,
        }
    }
    folder = write(tmp_path, plain, [make_scores(group) for group in plain], entropies=measured)
    dataset = open_dataset(folder)
    assert dataset["logprob_mismatch"][:] == [0.25 if index == 4 else None for index in range(9)]
    # make_scores drops every third group: 0, 3 and 6
    told = {"kinds": {"none": 5, "exact": 1}, "compared": 1, "mismatched": 1}
    assert read_manifest(folder)["entropies"] == {**told, "mismatch_mean": 0.25, "mismatch_max": 1.5}
    assert [row["entropy_kind"] == "exact" for row in dataset] == [index == 4 for index in range(9)]
    assert [row["entropy_mean"] is not None for row in dataset] == [index == 4 for index in range(9)]
    assert dataset[4]["token_entropies"] == [
        [pytest.approx(entropy, abs=2**-9) for entropy in completion.entropies] for completion in exact.completions
    ]
    assert dataset[3]["token_entropies"] == [[]] * 4
    assert [len(ids) for ids in dataset[3]["token_logprobs"]] == [c.num_tokens for c in plain[3].completions]


def test_bounds_have_columns_of_their_own_and_are_in_no_mean_of_entropies(tmp_path):
    exact, unsaid = make_group(1), make_group(3, with_entropies=False)
    bounded = replace(
        unsaid,
        entropy_kind="topk_bounds",
        completions=tuple(
            replace(
                c,
                entropies=(9.0,) * c.num_tokens,
                entropy_lower=(1.0,) * c.num_tokens,
                entropy_upper=(2.0,) * c.num_tokens,
            )
            for c in unsaid.completions
        ),
    )
    folder = write(tmp_path, [exact, bounded], [make_scores(exact), make_scores(bounded)])
    rows = open_dataset(folder)
    assert rows["entropy_kind"][:] == ["exact", "topk_bounds"]
    assert rows[1]["token_entropies"] == rows[0]["entropy_lower"] == rows[0]["entropy_upper"] == [[]] * 4
    assert rows[1]["entropy_mean"] is None
    ((group, _),) = list(load_groups(folder))[1:]
    for completion in group.completions:
        assert (set(completion.entropy_lower), set(completion.entropy_upper)) == ({1.0}, {2.0})
    stats = dataset_stats(folder)
    assert stats.entropies.quantiles[100] < 3.01
    assert (stats.entropy_bounds["lower"].mean, stats.entropy_bounds["upper"].mean) == (1.0, 2.0)
    assert read_manifest(folder)["entropies"]["kinds"] == {"exact": 1, "topk_bounds": 1}


def test_only_the_groups_asked_for_are_written(tmp_path, groups, scores):
    dataset = open_dataset(write(tmp_path, groups, scores, only=[3, 30]))
    assert dataset["id"][:] == ["p/3", "p/30"]


def test_the_verifier_that_judged_is_named(tmp_path, groups, scores):
    assert set(open_dataset(write(tmp_path, groups, scores, verifier="math")).unique("verifier")) == {"math"}


def test_the_same_groups_give_the_same_bytes(tmp_path, groups, scores):
    one = write(tmp_path / "one", groups, scores, part_size=3)
    other = write(tmp_path / "other", groups, scores, part_size=11)
    files = sorted(path.name for path in one.iterdir())
    assert files == sorted(path.name for path in other.iterdir())
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in files)


def test_a_dataset_is_replaced_whole_and_leaves_nothing_behind(tmp_path, groups, scores):
    folder = write(tmp_path / "a", groups, scores)
    (folder / "old file").touch()
    join_again = tmp_path / "a"
    (join_again / "dataset.tmp" / "scratch").mkdir(parents=True)
    for stage in ("completions", "scores", "entropies"):
        assert (join_again / stage).is_dir()
    with (
        Stage(join_again / "completions", COMPLETION_COLUMNS, "c") as completions,
        Stage(join_again / "scores", score_columns(("cosine",)), "s") as scored,
    ):
        join = Join([completions], [scored], [], ("cosine",), "run-1", None)
        seen = []
        write_dataset(join, IndexSet([1]), folder, {"run_id": "run-1"}, lambda *call: seen.append(call))
    assert seen == [("dataset", 0, 1), ("dataset", 1, 1)]
    assert open_dataset(folder)["run_id"][:] == ["run-1"]
    assert read_manifest(folder).keys() == {"run_id", "entropies"}
    assert not (folder / "old file").exists()
    assert sorted(path.name for path in join_again.iterdir()) == ["completions", "dataset", "entropies", "scores"]


def test_datasets_says_nothing_on_the_terminal(tmp_path, groups, scores, capfd):
    write(tmp_path, groups[:3], scores[:3])
    assert capfd.readouterr() == ("", "")
    assert not datasets.are_progress_bars_disabled()


def test_kept_groups_can_be_read_alone(folder):
    kept = list(load_groups(folder, kept_only=True))
    assert [group.problem.index for group, _ in kept] == [index for index in range(NUM_GROUPS) if index % 3 != 2]
    assert all(scored.kept for _, scored in kept)


def test_a_run_stands_for_its_dataset(folder):
    assert dataset_folder(folder.parent) == folder == dataset_folder(folder)


def test_what_is_no_dataset_is_refused_with_what_to_do(tmp_path):
    for read in (open_dataset, dataset_stats, lambda path: next(load_groups(path))):
        with pytest.raises(DistillError, match="does not exist"):
            read(tmp_path / "nothing")
        with pytest.raises(DistillError, match="holds no dataset"):
            read(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DistillError, match="has no dataset yet") as caught:
        open_dataset(tmp_path)
    assert "distill curate" in caught.value.hint


def test_a_foreign_dataset_and_another_schema_version_are_refused(tmp_path, folder):
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "foreign")
    ours = datasets.load_from_disk(folder)
    newer = ours.remove_columns("schema_version").add_column("schema_version", [99] * len(ours))
    newer.save_to_disk(tmp_path / "newer")
    datasets.DatasetDict({"train": ours, "test": ours}).save_to_disk(tmp_path / "splits")
    for read in (open_dataset, dataset_stats, lambda path: next(load_groups(path))):
        with pytest.raises(DistillError, match="it is not a curated dataset"):
            read(tmp_path / "foreign")
        with pytest.raises(DistillError, match="schema version 99"):
            read(tmp_path / "newer")
        with pytest.raises(DistillError, match="several splits: test, train"):
            read(tmp_path / "splits")


def test_the_numbers_of_a_group_leave_unverified_completions_out():
    verdicts = tuple(map(Verdict, (Outcome.CORRECT, Outcome.UNVERIFIED, Outcome.NO_ANSWER, Outcome.INCORRECT)))
    row = scores_to_row(Problem("p", "?", "1"), GroupScores(verdicts, (3.0, None, 0.0, -3.0), (1.0, None, 0.0, -1.0)))
    assert (row["num_correct"], row["pass_rate"], row["reward_mean"]) == (1, pytest.approx(1 / 3), 0.0)
    assert row["reward_std"] == pytest.approx(6**0.5)  # (9 + 0 + 9) / 3


def test_equal_rewards_have_no_spread():
    # the floating-point mean of three 0.1 is not 0.1, and 'distill inspect' counts groups without spread
    row = scores_to_row(
        Problem("p", "?", "1"), GroupScores((Verdict(Outcome.CORRECT),) * 3, (0.1, 0.1, 0.1), (0.0, 0.0, 0.0))
    )
    assert row["reward_std"] == 0.0


def hand_made():
    """Three groups of two: solved 1 of 2, 0 of 2 and 2 of 2, the last with equal rewards."""
    right, wrong, none = Verdict(Outcome.CORRECT, "1", "string"), Verdict(Outcome.INCORRECT, "2", "number"), None
    rows = [
        ((right, wrong), (2.0, -1.0), (3, 8), ""),
        ((wrong, Verdict(Outcome.UNVERIFIED, none, "timeout")), (-2.0, None), (10, 10), "no_correct"),
        ((right, right), (1.0, 1.0), (4, 5), ""),
    ]
    groups, scores = [], []
    for index, (verdicts, rewards, lengths, drop_reason) in enumerate(rows):
        group = make_group(index, 2)
        completions = tuple(
            Completion("x", token_ids=(1,) * n, logprobs=(0.0,) * n, entropies=(0.5,) * (n - 1) + (2.0,), model="m")
            for n in lengths
        )
        groups.append(replace(group, completions=completions))
        scores.append(GroupScores(verdicts, rewards, (0.0 if index else 1.0, None), {"format": rewards}, drop_reason))
    return groups, scores


def test_stats_by_hand(tmp_path):
    stats = dataset_stats(write(tmp_path, *hand_made()))
    assert (stats.groups, stats.completions, stats.kept, stats.group_size) == (3, 6, 2, 2)
    assert stats.dropped == {"no_correct": 1}
    assert stats.flat_groups == 1
    assert stats.outcomes == {"correct": 3, "incorrect": 2, "no_answer": 0, "unverified": 1}
    assert stats.verdict_reasons == {"correct: string": 3, "incorrect: number": 2, "unverified: timeout": 1}
    assert stats.pass_rates == (1, 1, 1)
    assert stats.models == {"m": 6}
    assert stats.teachers == {"teacher": 3}
    # rewards -2, -1, 1, 1, 2: mean 0.2, variance (4.84 + 1.44 + 0.64 + 0.64 + 3.24) / 5 = 2.16
    assert stats.rewards.count == 5
    assert stats.rewards.mean == pytest.approx(0.2)
    assert stats.rewards.std == pytest.approx(2.16**0.5)
    # rank 0.25 * 4 = 1, 0.5 * 4 = 2; 5 %: rank 0.2 lies between -2 and -1
    assert [stats.rewards.quantiles[percent] for percent in (0, 25, 50, 100)] == [-2.0, -1.0, 1.0, 2.0]
    assert stats.rewards.quantiles[5] == pytest.approx(-1.8)
    assert sum(stats.rewards.histogram) == 5
    assert (stats.rewards.edges[0], stats.rewards.edges[-1]) == (-2.0, 2.0)
    assert stats.reward_parts == {"format": stats.rewards}
    assert stats.advantages.count == 3
    assert {kind: spread.mean for kind, spread in stats.tokens.items()} == {
        "all": pytest.approx(40 / 6),
        "correct": 4.0,  # 3, 4 and 5
        "incorrect": 9.0,  # 8 and 10; the unverified completion of 10 is neither
    }
    # 40 tokens: the last of each of the 6 completions has 2 nats, the others 0.5
    assert stats.entropies.count == 40
    assert stats.entropies.mean == pytest.approx((34 * 0.5 + 6 * 2.0) / 40)
    assert [group.id for group in stats.best] == ["p/2", "p/0", "p/1"]
    assert [group.id for group in stats.worst] == ["p/1", "p/0", "p/2"]
    assert (stats.best[1].num_correct, stats.best[1].num_completions) == (1, 2)


def test_stats_are_plain_json(folder):
    stats = dataset_stats(folder)
    assert json.loads(json.dumps(stats_json(stats))) == stats_json(stats)
    assert stats_json(stats)["groups"] == asdict(stats)["groups"] == NUM_GROUPS


def test_entropy_distribution_equals_numpy_on_the_stored_values(folder):
    stored = np.concatenate([tokens for row in open_dataset(folder) for tokens in row["token_entropies"]])
    spread = dataset_stats(folder).entropies
    assert spread.count == len(stored)
    assert spread.mean == pytest.approx(stored.astype(np.float64).mean())
    assert spread.std == pytest.approx(stored.astype(np.float64).std())
    for percent, value in spread.quantiles.items():
        assert value == pytest.approx(np.percentile(stored.astype(np.float64), percent))
    assert list(spread.histogram) == np.histogram(stored.astype(np.float64), bins=20)[0].tolist()


def test_a_dataset_without_entropies_tokens_or_rewards_has_no_such_distribution(tmp_path):
    group = make_group(0, 2, with_entropies=False)
    bare = replace(group, completions=tuple(Completion("x") for _ in group.completions))
    unverified = Verdict(Outcome.UNVERIFIED, None, "timeout")
    nothing = GroupScores((unverified,) * 2, (None, None), (None, None), {"cosine": (None, None)}, "all_unverified")
    empty = Group(make_group(1).problem, group.prompt, (), "teacher")
    no_scores = GroupScores((), (), (), {"cosine": ()}, "no_completions")
    stats = dataset_stats(write(tmp_path, [bare, empty], [nothing, no_scores]))
    assert (stats.rewards, stats.advantages, stats.entropies, stats.reward_parts) == (
        None,
        None,
        None,
        {"cosine": None},
    )
    assert set(stats.tokens.values()) == {None}
    assert stats.pass_rates == (0, 0, 0)
    assert (stats.best, stats.worst) == ((), ())
    assert stats.dropped == {"all_unverified": 1, "no_completions": 1}


def test_one_group_in_full(folder, groups):
    group, scored = group_detail(folder, "p/17")
    assert isinstance(group, Group)
    assert group.problem == groups[17].problem
    assert len(scored.verdicts) == 4
    with pytest.raises(DistillError, match="has no group 'p/177'") as caught:
        group_detail(folder, "p/177")
    assert caught.value.hint == "did you mean 'p/17'?"
