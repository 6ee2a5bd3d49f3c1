"""Reports side by side: pairing, tests, labels and what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from distill.errors import DistillError
from distill.evals.chance import accuracy_interval, mcnemar, paired_bootstrap, paired_interval
from distill.evals.compare import compare_pair, compare_reports
from distill.evals.metrics import Means, TemplateAdherence
from distill.evals.report import ProblemResult, Report, write_report
from distill.records import Outcome

NOTHING = Means(None, None, None)


def report_of(
    label: str, counts: Sequence[int], *, benchmark: str = "sums", split: str = "test", n: int = 1, first: int = 0
) -> Report:
    """A report in which problem ``first + i`` has ``counts[i]`` correct completions of ``n``."""
    problems = tuple(
        ProblemResult(
            f"p/{first + number}",
            "f00d",
            (Outcome.CORRECT,) * count + (Outcome.INCORRECT,) * (n - count),
            (10,) * n,
        )
        for number, count in enumerate(counts)
    )
    scores = [problem.score for problem in problems]
    return Report(
        model=f"models/{label}",
        label=label,
        benchmark=benchmark,
        split=split,
        num_problems=len(problems),
        num_completions=n * len(problems),
        accuracy=sum(scores) / len(scores),
        interval=accuracy_interval(scores, n),
        pass_at_k={},
        no_answer_rate=0.0,
        truncation_rate=0.0,
        unverified=0,
        unanswered=0,
        mean_tokens=Means(10.0, 10.0, 10.0),
        verbosity_ratio=1.0,
        degeneracy=NOTHING,
        ngram_repetition=NOTHING,
        template=TemplateAdherence(0.0, 0.0, 0.0, 0.0),
        cpu_seconds=2.5,
        wall_seconds=2.0,
        train_cpu_seconds=None,
        settings={"model": f"models/{label}", "sampling": {"num_completions": n}, "prompt": {"format": "chat"}},
        versions={},
        problems=problems,
    )


def test_one_completion_each_is_compared_by_mcnemars_test() -> None:
    base = report_of("base", [1] * 10 + [0] * 30)
    better = report_of("better", [1] * 8 + [0] * 2 + [1] * 12 + [0] * 18)
    difference = compare_pair(better, base)
    # Solved by 'better' only: 12, by 'base' only: 2; (20 - 10) / 40 = 0.25.
    # p = 2 (C(14,0) + C(14,1) + C(14,2)) / 2^14 = 2 (1 + 14 + 91) / 16384 = 0.01294
    assert (difference.test, difference.only_model, difference.only_baseline) == ("mcnemar", 12, 2)
    assert difference.difference == pytest.approx(0.25)
    assert difference.p == pytest.approx(0.01294, abs=1e-5)
    assert difference.p == mcnemar(12, 2).p
    assert difference.interval == paired_interval(12, 2, 40)
    assert difference.verdict == "beyond chance"


def test_the_order_of_problems_does_not_matter_and_the_models_may_be_swapped() -> None:
    base, better = report_of("base", [1, 0, 0, 1, 0]), report_of("better", [1, 1, 1, 0, 0])
    shuffled = replace(better, problems=tuple(reversed(better.problems)))
    assert compare_pair(shuffled, base) == compare_pair(better, base)
    swapped = compare_pair(base, better)
    assert (swapped.only_model, swapped.only_baseline) == (1, 2)
    assert swapped.difference == -compare_pair(better, base).difference


def test_equal_models_differ_by_nothing() -> None:
    base = report_of("base", [1, 0, 1, 0])
    difference = compare_pair(replace(base, label="twin"), base)
    assert (difference.difference, difference.p, difference.verdict) == (0.0, 1.0, "within chance")
    assert difference.interval.low < 0 < difference.interval.high


def test_several_completions_are_compared_by_a_bootstrap_over_problems() -> None:
    base = report_of("base", [4, 2, 0, 1] * 10, n=4)
    better = report_of("better", [4, 3, 1, 1] * 10, n=4)
    difference = compare_pair(better, base)
    assert difference.test == "paired bootstrap"
    # (0 + 1/4 + 1/4 + 0) / 4
    assert difference.difference == pytest.approx(0.125)
    assert (difference.only_model, difference.only_baseline) == (20, 0)
    bootstrap = paired_bootstrap([0, 0.25, 0.25, 0] * 10)
    assert (difference.interval, difference.p) == (bootstrap.interval, bootstrap.p)


def test_one_against_several_completions_is_a_bootstrap_too() -> None:
    assert compare_pair(report_of("a", [1, 0, 1]), report_of("b", [1, 0, 2], n=2)).test == "paired bootstrap"


def test_only_common_problems_are_compared_and_the_reader_is_told() -> None:
    base, longer = report_of("base", [1, 1, 0, 0]), report_of("longer", [1, 1, 1, 1], first=2)
    comparison = compare_reports([base, longer])
    cell = comparison.rows[1].cells[0]
    assert cell is not None
    assert cell.difference is not None
    assert (cell.difference.num_problems, cell.difference.difference) == (2, 1.0)
    assert comparison.notes == (
        "sums:test: 'longer' (4 problems) and 'base' (4) are compared on the 2 that both were given",
    )


def test_a_report_on_the_first_problems_only_is_told_of_too() -> None:
    base, short = report_of("base", [1, 1, 0, 0]), report_of("short", [1, 1])
    assert compare_reports([base, short]).notes == (
        "sums:test: 'short' (2 problems) and 'base' (4) are compared on the 2 that both were given",
    )


def test_other_sampling_prompt_or_verifier_is_told_but_another_model_or_seed_is_not() -> None:
    base = report_of("base", [1, 0])
    warm = replace(
        report_of("warm", [1, 0]),
        settings={"model": "x", "seed": 9, "sampling": {"num_completions": 1, "temperature": 0.6}, "prompt": {}},
    )
    assert compare_reports([base, warm]).notes == (
        "sums:test: 'warm' and 'base' differ in more than the model: prompt.format, sampling.temperature",
    )
    assert compare_reports([base, report_of("other", [0, 1])]).notes == ()


def test_four_models_on_two_splits_make_a_table_of_four_rows_and_two_columns(tmp_path: Path) -> None:
    names = ["teacher", "student", "sft", "advdistill"]
    for number, name in enumerate(names):
        for split in ("test", "ood"):
            folder = tmp_path / name / f"sums-{split}"
            folder.mkdir(parents=True)
            write_report(report_of(name, [1] * (number + 1) + [0] * 6, split=split), folder / "report.json")
    comparison = compare_reports([tmp_path / name for name in names], baseline="student")
    assert comparison.benchmarks == ("sums:test", "sums:ood")
    assert [row.label for row in comparison.rows] == names
    assert comparison.baseline == "student"
    assert all(cell is not None for row in comparison.rows for cell in row.cells)
    differences = [[cell and cell.difference is not None for cell in row.cells] for row in comparison.rows]
    assert differences == [[True, True], [False, False], [True, True], [True, True]]


def test_a_model_that_was_evaluated_on_fewer_benchmarks_leaves_its_cell_empty() -> None:
    sources = [
        report_of("base", [1, 0]),
        report_of("base", [1, 0], split="ood"),
        report_of("sft", [1, 1]),
        report_of("teacher", [1, 1]),
        report_of("teacher", [1, 1], benchmark="more"),
    ]
    comparison = compare_reports(sources)
    assert comparison.benchmarks == ("sums:test", "sums:ood", "more:test")
    sft, teacher = comparison.rows[1:]
    assert [cell is None for cell in sft.cells] == [False, True, True]
    more = teacher.cells[2]
    assert more is not None
    assert more.difference is None


def test_the_baseline_is_named_by_label_model_or_path(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(report_of(name, [1, 0]), tmp_path / f"{name}.json")
    sources = [tmp_path / "a.json", tmp_path / "b.json"]
    for name in ("b", "models/b", str(tmp_path / "b.json")):
        assert compare_reports(sources, baseline=name).baseline == "b"
    assert compare_reports(sources).baseline == "a"
    with pytest.raises(DistillError, match="no report is of 'c'"):
        compare_reports(sources, baseline="c")


def test_a_report_that_is_named_twice_counts_once_and_goes_by_both_names(tmp_path: Path) -> None:
    for name in ("base", "sft"):
        for split in ("test", "ood"):
            (tmp_path / name / split).mkdir(parents=True)
            write_report(report_of(name, [1, 0], split=split), tmp_path / name / split / "report.json")
    (tmp_path / "link").symlink_to(tmp_path / "sft")
    file = tmp_path / "sft" / "ood" / "report.json"
    detour = tmp_path / "base" / ".." / "sft"
    sources = [tmp_path / "base", tmp_path / "sft", file, file.parent, detour, tmp_path / "link", tmp_path / "sft"]
    comparison = compare_reports(sources)
    assert [row.label for row in comparison.rows] == ["base", "sft"]
    assert comparison.rows == compare_reports(sources[:2]).rows
    for source in sources[1:]:
        assert compare_reports(sources, baseline=str(source)).baseline == "sft"


def test_rows_that_would_be_called_the_same_are_told_apart() -> None:
    first, again = report_of("sft", [1, 0]), report_of("sft", [0, 1])
    elsewhere = replace(first, model="models/elsewhere", settings={"model": "models/elsewhere"})
    labels = [row.label for row in compare_reports([first, again, elsewhere]).rows]
    assert labels == ["sft (models/sft)", "sft (models/sft) #2", "sft (models/elsewhere)"]
    with pytest.raises(DistillError, match="'models/sft' names 2 of the compared models"):
        compare_reports([first, again, elsewhere], baseline="models/sft")


def test_one_report_alone_is_a_table_without_differences() -> None:
    comparison = compare_reports([report_of("base", [1, 0])])
    assert [cell and cell.difference for cell in comparison.rows[0].cells] == [None]


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (report_of("other", [1], split="ood"), "there is nothing to compare"),
        (report_of("other", [1], first=50), "have no problem in common"),
    ],
)
def test_what_cannot_be_paired_is_a_users_error(other: Report, complaint: str) -> None:
    with pytest.raises(DistillError, match=complaint):
        compare_reports([report_of("base", [1, 0]), other])


def test_an_id_that_stands_for_two_problems_pairs_nothing() -> None:
    base = report_of("base", [1, 0])
    moved = replace(base.problems[1], fingerprint="beef")
    with pytest.raises(DistillError, match="problem 'p/1' of 'sums:test' asks something else"):
        compare_pair(replace(base, label="other", problems=(base.problems[0], moved)), base)


def test_reports_of_different_benchmarks_are_no_pair_and_none_is_no_comparison() -> None:
    with pytest.raises(DistillError, match="a report on 'sums:ood' cannot be compared with one on 'sums:test'"):
        compare_pair(report_of("a", [1], split="ood"), report_of("b", [1]))
    with pytest.raises(DistillError, match="no report to compare"):
        compare_reports([])


def test_a_comparison_is_plain_json_with_the_verdict_in_words() -> None:
    values = compare_reports([report_of("base", [0] * 12), report_of("sft", [1] * 12)]).to_json()
    assert json.loads(json.dumps(values)) == {
        **values,
        "benchmarks": ["sums:test"],
        "rows": json.loads(json.dumps(values["rows"])),
        "notes": [],
    }
    difference = values["rows"][1]["cells"][0]["difference"]
    assert (difference["verdict"], difference["only_model"]) == ("beyond chance", 12)
    assert values["rows"][0]["cells"][0]["difference"] is None


def with_clusters(report: Report, size: int) -> Report:
    """The report with every ``size`` problems in a row as variants of one."""
    problems = tuple(replace(problem, cluster=str(number // size)) for number, problem in enumerate(report.problems))
    return replace(report, problems=problems)


def test_variants_of_one_problem_are_resampled_together_and_the_reader_is_told() -> None:
    base, better = report_of("base", [0] * 8 + [1] * 24), report_of("better", [1] * 8 + [1] * 24)
    alone = compare_pair(better, base)
    assert (alone.test, alone.verdict) == ("mcnemar", "beyond chance")  # 2 / 2^8 = 0.0078
    difference = compare_pair(with_clusters(better, 8), with_clusters(base, 8))
    # All that was gained are variants of one problem: of 4 resampled ones none is it with a chance of (3/4)^4 = 0.32.
    assert (difference.test, difference.num_clusters) == ("clustered bootstrap", 4)
    assert difference.p == pytest.approx(2 * 0.75**4, abs=0.02)
    assert (difference.difference, difference.verdict) == (0.25, "within chance")
    again = replace(with_clusters(better, 8), label="again")
    notes = compare_reports([with_clusters(base, 8), with_clusters(better, 8), again]).notes
    assert notes == ("sums:test: the problems are variants of 4 others, and were resampled by these",)


def test_a_difference_among_many_has_to_be_clearer_to_hold_in_the_table() -> None:
    base = report_of("base", [0] * 20)
    # p = 2 / 2^7 = 0.0156, and 4 * 0.0156 = 0.0625 beside a clearer one and three others; 5 * 2 / 2^9 holds.
    clear, slight = report_of("clear", [1] * 9 + [0] * 11), report_of("slight", [1] * 7 + [0] * 13)
    alone = compare_reports([base, slight]).rows[1].cells[0]
    assert alone is not None
    assert alone.difference is not None
    assert alone.difference.holds_in_table
    others = [report_of(name, [0] * 20) for name in ("x", "y", "z")]
    rows = compare_reports([base, slight, clear, *others]).rows[1:]
    found = [cell.difference for row in rows for cell in row.cells if cell is not None and cell.difference is not None]
    assert [difference.verdict for difference in found[:2]] == ["beyond chance"] * 2
    assert [difference.holds_in_table for difference in found] == [False, True, False, False, False]
    assert found[0].adjusted_p == pytest.approx(4 * 2 / 2**7)
