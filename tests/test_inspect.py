"""What inspection says of a dataset: by hand, filtered, sorted, compared, and what it loads."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill.curate.changes import change_lines, changes_headline, compare_datasets
from distill.curate.findings import findings, headline, length_words
from distill.curate.group_columns import COLUMNS
from distill.curate.group_list import list_groups
from distill.curate.stats import dataset_stats, stats_json
from distill.curate.where import read_where
from distill.errors import DistillError
from distill.records import GroupScores
from tests.hostile import PAYLOADS, payload
from tests.inspect_parts import RIGHT, WRONG, group_of, hand_made, write_groups
from tests.loading import loaded_modules


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_groups(tmp_path / "made", *hand_made())


def test_groups_that_teach_are_kept_and_have_rewards_that_differ(dataset: Path) -> None:
    stats = dataset_stats(dataset)
    assert (stats.groups, stats.kept, stats.teaching, stats.flat_groups) == (4, 3, 2, 1)
    assert (stats.mixed_groups, stats.inverted_groups) == (2, 1)  # p/0 and p/3 have both; in p/3 the wrong one earns 3
    assert (stats.pass_rates, stats.pass_rates_kept) == ((1, 2, 1), (0, 2, 1))


def test_a_wrong_completion_that_earns_as_much_as_a_right_one_is_one_too_many(tmp_path: Path) -> None:
    groups = [group_of(index, ["a", "b"], [5, 6]) for index in range(2)]
    scores = [GroupScores((RIGHT, WRONG), rewards, (0.0, 0.0)) for rewards in ((1.0, 1.0), (1.0, 0.9))]
    stats = dataset_stats(write_groups(tmp_path / "d", groups, scores))
    assert (stats.mixed_groups, stats.inverted_groups) == (2, 1)


def test_length_and_reward_are_correlated_inside_groups(dataset: Path) -> None:
    effect = dataset_stats(dataset).length_effect
    assert effect is not None
    # p/0: lengths -2.5, 2.5, rewards 1.5, -1.5; p/1 has one reward; p/2: -0.5, 0.5 and no spread; p/3: -1, 1 and -1, 1
    # xx = 12.5 + 0.5 + 2, yy = 4.5 + 2, xy = -7.5 + 2
    assert effect.within["all"] == pytest.approx(-5.5 / (15 * 6.5) ** 0.5)
    assert effect.within["correct"] is None  # only p/2 has two correct ones, and they earn the same
    assert sum(map(sum, effect.counts)) == 7
    assert sum(map(sum, effect.correct)) == 4
    assert effect.token_edges[:2] == (3.0, 4.0)  # whole tokens, from the shortest on
    assert effect.counts[0][7] == 1  # the lowest reward, of 10 tokens


def test_rewards_of_right_and_wrong_stand_between_the_same_edges(dataset: Path) -> None:
    stats = dataset_stats(dataset)
    right, wrong = (stats.rewards_by_outcome["reward"][kind] for kind in ("correct", "incorrect"))
    assert right is not None
    assert wrong is not None
    assert stats.rewards is not None
    assert right.edges == wrong.edges == stats.rewards.edges
    assert right.mean == pytest.approx((2 + 0.1 + 0.1 + 1) / 4)
    assert wrong.mean == pytest.approx((-1 - 2 + 3) / 3)
    assert [a + b for a, b in zip(right.histogram, wrong.histogram, strict=True)] == list(stats.rewards.histogram)


def test_the_headline_says_what_the_dataset_is_worth(dataset: Path) -> None:
    assert headline(dataset_stats(dataset)) == (
        "2 of 4 groups teach (50 %), 50 % of completions are correct, a correct one earns 0.80 more than a wrong one; "
        "shorter ones earn clearly more (r = -0.56 inside groups)."
    )


def test_findings_name_the_groups_to_look_at(dataset: Path) -> None:
    stats = dataset_stats(dataset)
    found = {finding.where: finding.text for finding in findings(stats)}
    assert found["kept and reward_std == 0"].startswith("1 kept groups (25 %) teach nothing")
    assert found["inverted"].startswith("In 1 of 2 groups with both")
    assert found["'unverified' in outcomes"].startswith("12 % of completions are unverified")  # 1 of 8
    assert found[""] == "The reward part 'format' is 1 everywhere: it tells nothing apart."
    for where in filter(None, found):
        assert 0 < dataset_stats(dataset, where).groups < 4


def test_a_dataset_without_defects_has_no_findings(tmp_path: Path) -> None:
    groups = [group_of(index, ["a", "b", "c"], [5, 5, 6]) for index in range(20)]
    scores = GroupScores((RIGHT, WRONG, RIGHT), (1.0, 0.0, 0.9), (1.0, -1.0, 0.5), {"format": (1.0, 0.0, 0.9)})
    stats = dataset_stats(write_groups(tmp_path / "good", groups, [scores] * 20))
    assert findings(stats) == ()
    assert headline(stats).startswith("20 of 20 groups teach (100 %)")


def test_length_may_be_paid_among_correct_completions_alone(tmp_path: Path) -> None:
    # lengths 10, 20, 15 are -5, 5, 0; rewards 1, 0.9, -1 are 0.7, 0.6, -1.3: r = -0.5 / (50 * 2.54) ** 0.5
    scores = GroupScores((RIGHT, RIGHT, WRONG), (1.0, 0.9, -1.0), (1.0, 0.9, -1.0))
    stats = dataset_stats(write_groups(tmp_path / "d", [group_of(0, ["a", "b", "c"], [10, 20, 15])], [scores]))
    assert length_words(stats) == (
        "length alone does not buy reward (r = -0.04 inside groups), among correct ones shorter earn more (-1.00)"
    )


def test_nothing_is_said_of_length_where_it_does_not_vary(tmp_path: Path) -> None:
    groups = [group_of(0, ["a", "b"], [5, 5])]
    stats = dataset_stats(write_groups(tmp_path / "d", groups, [GroupScores((RIGHT, WRONG), (1.0, 0.0), (1.0, -1.0))]))
    assert length_words(stats) == "whether length buys reward is not known"


def test_stats_of_a_condition_are_those_of_its_groups_and_say_so(dataset: Path) -> None:
    stats = dataset_stats(dataset, "not kept")
    assert (stats.where, stats.groups, stats.groups_stored, stats.completions) == ("not kept", 1, 4, 2)
    assert stats.tokens["all"] is not None
    assert stats.tokens["all"].mean == 10
    nothing = dataset_stats(dataset, "num_correct > 2")
    assert (nothing.groups, nothing.rewards, nothing.length_effect) == (0, None, None)
    assert headline(nothing) == "There is no completion to learn from."
    assert json.loads(json.dumps(stats_json(nothing)))["groups"] == 0


CONDITIONS = {
    "pass_rate < 0.5": [1],
    "0.5 > pass_rate": [1],
    "pass_rate == 0.5 and kept": [0, 3],
    "not kept or inverted": [1, 3],
    "kept and not inverted": [0],  # of p/2 nobody can say: it has no wrong completion
    "teaches": [0, 3],
    "kept == true": [0, 2, 3],
    "drop_reason in ('no_correct', 'too_hard')": [1],
    "drop_reason not in ('no_correct', 'too_hard')": [0, 2, 3],
    "num_correct in [0, 2]": [1, 2],
    "drop_reason != ''": [1],
    "'timeout' in verdict_reasons": [1],
    "'time' in verdict_reasons": [],
    "'unverified' not in outcomes": [0, 2, 3],
    "any(rewards < 0)": [0, 1],
    "all(rewards > 0)": [2, 3],
    "any(-1 == rewards)": [0],
    "any(reward_format == 1)": [0, 1, 2, 3],
    "0 < num_correct <= 1": [0, 3],
    "'is 2' in question": [2],
    "'completion 0 of 3' in completions": [3],
    "3 in num_tokens": [0],
    "tokens_max >= 8": [0, 1],
    "tokens_mean == 4.5": [2],
    "reward_mean == 0.1": [2],
    "reward_std == 0": [1, 2],
    "reward_mean < reward_std": [0, 1],
    "pass_rate == none": [],
    "pass_rate is not None": [0, 1, 2, 3],
    "id == 'p/2' or (id == 'p/3' and index > 2.5)": [2, 3],
    "num_correct < 1e3": [0, 1, 2, 3],
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_chooses_groups(dataset: Path, condition: str) -> None:
    found = [group["id"] for group in list_groups(dataset, where=condition).groups]
    assert found == [f"p/{index}" for index in CONDITIONS[condition]]


REFUSED = {
    "pas_rate < 0.5": "did you mean 'pass_rate'?",
    "pass_rate = 0.5": "equality is written '=='",
    "pass_rate <": "cannot be read",
    "rewards > 1": "any(…) or all(…)",
    "any(pass_rate > 1)": "one value for the whole group",
    "any(rewards > 1, 2)": "only any(…) and all(…) of one comparison",
    "sum(rewards) > 1": "'sum(rewards)' is no column",
    "pass_rate < 'a'": "'pass_rate' holds a number",
    "id > 5": "'id' holds a text",
    "pass_rate == true": "'pass_rate' holds a number",
    "pass_rate": "'pass_rate' alone is no condition",
    "drop_reason == no_correct": "no column of groups is called 'no_correct'",
    "drop_reason in (no_correct,)": "texts stand in quotes",
    "5 in question": "cannot be in 'question'",
    "pass_rate in (none,)": "'pass_rate' holds a number",
    "pass_rate < none": "only '==' and '!=' compare with none",
    "pass_rate < 10**99": "is no number or text to compare with",
    "num_correct < 1e99": "is no number or text to compare with",
    "1 < 2": "is no column",
    "kept + 1": "is no condition",
    "id.upper() == 'A'": "is no column",
    "lambda: 1": "is no condition",
    "[kept for kept in id]": "is no condition",
    " ": "the condition is empty",
    "not " * 200 + "kept": "nested too deeply",
    "(" * 900 + "kept" + ")" * 900: "cannot be read",
    "kept" + " " * 3_000: "3,004 characters",
    "kept\0": "cannot be read",
}


@pytest.mark.parametrize("condition", REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_is_no_condition_is_told_what_is_wrong(dataset: Path, condition: str) -> None:
    with pytest.raises(DistillError) as caught:
        dataset_stats(dataset, condition)
    assert REFUSED[condition] in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("frame", ["%s", "any(%s)", "'a' in %s", "pass_rate < %s", "%s == 'a'", "kept and (%s)"])
def test_no_condition_runs_code(tmp_path: Path, name: str, frame: str) -> None:
    touched = tmp_path / "touched"
    with suppress(DistillError):  # nearly all; a comment is one in this language, too
        read_where(frame % payload(name, touched), ["id", "kept", "pass_rate"])
    assert not touched.exists()


def test_groups_are_sorted_over_all_batches_and_equal_ones_keep_their_order(dataset: Path) -> None:
    def ids(sort: str, limit: int = 20) -> list[str]:
        return [group["id"] for group in list_groups(dataset, sort=sort, limit=limit).groups]

    assert ids("-tokens_max") == ["p/1", "p/0", "p/3", "p/2"]
    assert ids("-tokens_max", 2) == ["p/1", "p/0"]
    assert ids("pass_rate") == ["p/1", "p/0", "p/3", "p/2"]
    assert ids("inverted") == ["p/0", "p/3", "p/1", "p/2"]  # of the last two it is not known
    assert ids("", 3) == ["p/0", "p/1", "p/2"]
    listed = list_groups(dataset, where="kept", sort="-reward_mean", limit=1)
    assert (listed.total, listed.groups[0]["id"], listed.groups[0]["reward_mean"]) == (3, "p/3", 2.0)


@pytest.mark.parametrize(
    ("sort", "words"), [("-token_mean", "did you mean 'tokens_mean'?"), ("rewards", "a value for every completion")]
)
def test_a_column_that_gives_no_order_is_told(dataset: Path, sort: str, words: str) -> None:
    with pytest.raises(DistillError) as caught:
        list_groups(dataset, sort=sort)
    assert words in f"{caught.value} {caught.value.hint}"


def test_two_datasets_are_joined_by_the_ids_of_their_groups(tmp_path: Path, dataset: Path) -> None:
    groups, scores = hand_made()
    scores[0] = replace(scores[0], verdicts=(RIGHT, RIGHT))  # p/0: 1 of 2 -> 2 of 2
    scores[3] = replace(scores[3], verdicts=(WRONG, WRONG), drop_reason="no_correct")  # p/3: 1 of 2 -> 0 of 2, dropped
    other = group_of(9, ["x", "y"], [20, 20])
    surprised = replace(other.completions[0], entropies=(3.0,) * 20)
    other = replace(other, completions=(surprised, other.completions[1]))
    after = write_groups(tmp_path / "after", [*groups[::-1], other], [*scores[::-1], scores[0]])
    changes, backwards = compare_datasets(dataset, after), compare_datasets(after, dataset)
    assert (backwards.solved_more, backwards.solved_less, backwards.newly_kept) == (1, 1, 1)
    assert (changes.common, changes.solved_more, changes.solved_less) == (4, 1, 1)
    assert (changes.newly_kept, changes.newly_dropped) == (0, 1)
    assert [(moved.id, moved.before, moved.after) for moved in changes.risen] == [("p/0", 0.5, 1.0)]
    assert [moved.id for moved in changes.fallen] == ["p/3"]
    for found in (changes, backwards):  # the same axes, so that they can be read against each other
        for one, two in (
            (found.before.rewards, found.after.rewards),
            (found.before.tokens["all"], found.after.tokens["all"]),
            (found.before.entropies, found.after.entropies),
        ):
            assert one is not None
            assert two is not None
            assert one.edges == two.edges
    assert changes.before.tokens["all"].edges[0::20] == (3.0, 20.0)
    assert sum(changes.before.tokens["all"].histogram) == 8
    lines = {line.name: line for line in change_lines(changes)}
    assert (lines["groups"].before, lines["groups"].after, lines["groups"].change) == ("4", "5", "+1")
    # 4 of 8 are correct before; 6 of 10 after: p/0 and p/9 two each, p/2 two
    assert (lines["correct"].after, lines["correct"].change) == ("6 (60.0 %)", "+10.0 points")
    assert (lines["format"].change, lines["format"].direction) == ("=", "same")
    # (3 + 8 + 10 + 10 + 4 + 5 + 4 + 6) / 8 = 6.25; with twice 20: 9
    assert changes_headline(changes) == (
        "Teaching groups 2 → 2, correct 50 % → 60 %, completions 44 % longer, of 4 groups in both 1 are solved more "
        "often and 1 less."
    )


def test_datasets_without_common_groups_or_completions_are_compared_all_the_same(tmp_path: Path, dataset: Path) -> None:
    empty = write_groups(tmp_path / "empty", [group_of(7, [], [])], [GroupScores((), (), (), {}, "no_completions")])
    changes = compare_datasets(dataset, empty)
    assert (changes.common, changes.risen, changes.fallen) == (0, (), ())
    assert changes_headline(changes) == "One of the two has no completions."
    assert {line.name: line.after for line in change_lines(changes)}["reward"] == "–"


def test_a_long_tail_of_lengths_shares_the_last_bin(tmp_path: Path) -> None:
    lengths = [10, 20] * 49 + [15, 5_000]
    groups = [group_of(i, ["a", "b"], lengths[2 * i : 2 * i + 2]) for i in range(50)]
    scores = [GroupScores((RIGHT, WRONG), (1.0, 0.0), (1.0, -1.0))] * 50
    effect = dataset_stats(write_groups(tmp_path / "tail", groups, scores)).length_effect
    assert effect is not None
    assert effect.token_edges[-1] == 10 + 48  # 20 tokens are the 95 % quantile, and one token a bin is the least
    assert effect.counts[0][-1] == 1
    assert np.sum(effect.counts) == 100


def test_inspection_loads_nothing_heavy(dataset: Path, tmp_path: Path) -> None:
    arguments = [
        "distill",
        "inspect",
        str(dataset),
        "--html",
        str(tmp_path / "page.html"),
        "--svg",
        str(tmp_path / "x"),
    ]
    loaded = loaded_modules(
        f"import sys; sys.argv = {arguments!r}\nfrom distill.__main__ import main\ntry:\n    main()\nexcept SystemExit:\n"
        "    pass"
    )
    assert "pyarrow" in loaded
    assert {"torch", "transformers", "datasets", "sympy"} & loaded == set()


def test_every_column_stands_on_the_page_about_inspection() -> None:
    page = (Path(__file__).parents[1] / "docs" / "inspect.md").read_text(encoding="utf-8")
    assert [column.name for column in COLUMNS if f"| `{column.name}` | {column.about} |" not in page] == []
