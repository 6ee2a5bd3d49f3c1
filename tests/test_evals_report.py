"""A report: what it says of judged groups, and its way to the disk and back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from distill.config import PromptConfig, SourceConfig, VerifierConfig
from distill.errors import DistillError
from distill.evals.benchmarks import Benchmark
from distill.evals.chance import wilson_interval
from distill.evals.metrics import Means
from distill.evals.report import Report, build_report, find_reports, problem_result, read_report, write_report
from distill.evals.store import JudgedGroup
from distill.evals.subject import Subject
from distill.problems import Rejected, read_problems
from distill.records import Completion, FinishReason, Group, Outcome, Problem, Prompt, Verdict

RIGHT, WRONG, NONE, UNKNOWN = Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER, Outcome.UNVERIFIED
SUBJECT = Subject("runs/sft", "runs/sft/student", "sft", "0123456789abcdef", train_cpu_seconds=12.5)
BENCHMARK = Benchmark(
    "sums", "test", (), (Rejected(3, "sums/2", "empty_answer"),), PromptConfig(format="plain"), VerifierConfig()
)


def judged_group(number: int, *completions: tuple[Outcome, int, FinishReason]) -> JudgedGroup:
    problem = Problem(f"sums/{number}", "?", "4", index=number)
    written = tuple(
        Completion("\\boxed{4}", num_tokens=num_tokens, finish_reason=reason) for _, num_tokens, reason in completions
    )
    verdicts = tuple(Verdict(outcome) for outcome, _, _ in completions)
    return JudgedGroup(Group(problem, Prompt((), "plain", "?"), written), verdicts, cpu_seconds=1.5, wall_seconds=1.0)


def report_of(*judged: JudgedGroup) -> Report:
    return build_report(SUBJECT, BENCHMARK, judged, {"sampling": {"top_p": 1.0}}, {"distill": "0"})


def test_one_completion_per_problem_gives_a_proportion_with_wilsons_interval() -> None:
    report = report_of(
        judged_group(0, (RIGHT, 10, "stop")),
        judged_group(1, (WRONG, 30, "stop")),
        judged_group(2, (NONE, 50, "length")),
        judged_group(3, (UNKNOWN, 10, "stop")),
        judged_group(4, (RIGHT, 30, "stop")),
    )
    assert (report.num_problems, report.num_completions, report.completions_per_problem) == (5, 5, 1)
    assert report.accuracy == 0.4  # the unverified one is not correct, but it is a problem
    assert report.interval == wilson_interval(2, 5)
    assert report.pass_at_k == {}
    assert (report.no_answer_rate, report.truncation_rate, report.unverified) == (0.2, 0.2, 1)
    assert report.mean_tokens == Means(all=26.0, correct=20.0, incorrect=40.0)
    assert report.verbosity_ratio == 2.0
    assert (report.cpu_seconds, report.wall_seconds, report.train_cpu_seconds) == (7.5, 5.0, 12.5)
    assert (report.label, report.name, report.rejected) == ("sft", "sums:test", BENCHMARK.rejected)
    assert report.template.boxed == 1.0


def test_several_completions_give_avg_at_n_and_pass_at_k() -> None:
    report = report_of(
        judged_group(0, (RIGHT, 1, "stop"), (RIGHT, 1, "stop"), (WRONG, 1, "stop"), (NONE, 1, "stop")),
        judged_group(1, (WRONG, 1, "stop"), (UNKNOWN, 1, "stop"), (WRONG, 1, "stop"), (RIGHT, 1, "stop")),
    )
    # Scores 1/2 and 1/4. pass@2: 1 - C(2,2)/C(4,2) = 5/6 and 1 - C(3,2)/C(4,2) = 1/2, mean 2/3.
    assert report.accuracy == 0.375
    assert report.pass_at_k == {1: 0.375, 2: pytest.approx(2 / 3), 4: 1.0}
    # No wrong completion here has an answer that could be voted for: a right one among k wins.
    assert report.majority_at_k == pytest.approx(dict(report.pass_at_k))
    assert report.completions_per_problem == 4
    assert [problem.score for problem in report.problems] == [0.5, 0.25]


def test_pass_at_k_stops_where_the_problem_with_fewest_completions_does() -> None:
    report = report_of(
        judged_group(0, (RIGHT, 1, "stop"), (WRONG, 1, "stop"), (WRONG, 1, "stop")),
        judged_group(1, *[(WRONG, 1, "stop")] * 8),
    )
    assert list(report.pass_at_k) == [1, 2]


def test_a_problems_fingerprint_changes_with_what_is_asked_and_with_nothing_else() -> None:
    problem = Problem("p/1", "2 + 2?", "4", index=1)
    changed = [replace(problem, question="2 + 3?"), replace(problem, answer="5"), replace(problem, options=("4",))]
    same = replace(problem, id="p/7", index=7, metadata='{"steps": 1}')
    judged = [JudgedGroup(Group(each, Prompt((), "plain", "?"), ()), ()) for each in [problem, same, *changed]]
    first, second, *others = (problem_result(each).fingerprint for each in judged)
    assert first == second
    assert len({first, *others}) == 4


def test_a_problem_without_completions_is_not_correct_and_hides_no_pass_at_k() -> None:
    report = report_of(judged_group(0, (RIGHT, 1, "stop"), (WRONG, 1, "stop")), judged_group(1))
    assert (report.accuracy, report.unanswered, report.num_problems, report.num_completions) == (0.25, 1, 2, 2)
    assert report.pass_at_k == {1: 0.25, 2: 0.5}
    silent = report_of(judged_group(0), judged_group(1))
    assert (silent.accuracy, silent.interval, silent.unanswered) == (0.0, wilson_interval(0, 2), 2)
    assert silent.pass_at_k == {}


def test_nothing_judged_is_no_report() -> None:
    with pytest.raises(DistillError, match="no problem of 'sums:test' has a completion"):
        report_of()


def test_a_report_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    report = report_of(
        judged_group(0, (RIGHT, 10, "stop"), (UNKNOWN, 7, "length")),
        judged_group(1, (WRONG, -1, "stop"), (NONE, 3, "stop")),
    )
    write_report(report, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == report
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_report_on_disk_is_json_with_one_problem_per_line(tmp_path: Path) -> None:
    write_report(report_of(judged_group(0, (RIGHT, 10, "stop"))), tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text()
    assert re.search(
        r'\n    {"id": "sums/0", "fingerprint": "\w{12}", "outcomes": \["correct"], "num_tokens": \[10], "cluster": "", "answers": \[""], "text": "\w{8}"}\n',
        text,
    )
    values = json.loads(text)
    assert (values["report_version"], values["accuracy"]) == (1, 1.0)
    assert set(values["interval"]) == {"low", "high"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "there is no report"),
        ("{", "is not a report"),
        ("[]", "is not a report"),
        ("{}", "is not a report"),
        ('{"report_version": 2}', "has report version 2, this distill reads version 1"),
        ('{"report_version": 1}', "is not a report of 'distill eval': model: "),
    ],
)
def test_what_is_no_report_is_a_users_error(tmp_path: Path, content: str | None, complaint: str) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DistillError, match=complaint):
        read_report(path)


def test_reports_are_found_at_a_file_in_a_folder_or_one_below(tmp_path: Path) -> None:
    for name in ("sums-test", "sums-ood", "empty"):
        (tmp_path / name).mkdir()
    for name in ("sums-test", "sums-ood"):
        (tmp_path / name / "report.json").write_text("{}")
    ood, test = tmp_path / "sums-ood" / "report.json", tmp_path / "sums-test" / "report.json"
    assert find_reports(tmp_path) == [ood, test]
    assert find_reports(tmp_path / "sums-test") == [test]
    assert find_reports(ood) == [ood]
    with pytest.raises(DistillError, match=r"holds no report\.json"):
        find_reports(tmp_path / "empty")


def test_variants_of_one_problem_are_a_cluster_in_the_interval_of_the_accuracy() -> None:
    judged = [judged_group(number, (RIGHT if number < 4 else WRONG, 10, "stop")) for number in range(8)]
    named = [
        replace(item, group=replace(item.group, problem=replace(item.group.problem, metadata=metadata)))
        for item, metadata in zip(
            judged, ['{"seed_problem": "3 + 4?"}'] * 4 + ['{"seed_problem": "5 + 6?"}'] * 4, strict=True
        )
    ]
    report = report_of(*named)
    assert len({problem.cluster for problem in report.problems}) == 2
    assert report.interval == wilson_interval(1, 2)  # all variants alike: two tries, not eight
    assert report_of(*judged).interval == wilson_interval(4, 8)


def test_the_votes_of_a_problems_completions_are_counted_by_answer_whatever_its_case_and_spaces() -> None:
    item = judged_group(0, (RIGHT, 1, "stop"), (WRONG, 1, "stop"), (WRONG, 1, "stop"), (WRONG, 1, "stop"))
    answers = ("4", "Five", " five ", "6")
    verdicts = tuple(replace(verdict, answer=answer) for verdict, answer in zip(item.verdicts, answers, strict=True))
    report = report_of(replace(item, verdicts=verdicts))
    assert len(set(report.problems[0].answers)) == 3
    # Of 2: the right one stands in 3 of 6 sets, level with another. Of all 4: 'five' has two votes.
    assert report.majority_at_k == {1: 0.25, 2: 0.25, 4: 0.0}


def test_the_variants_of_a_gsm8k_problem_in_gsm_plus_are_one_cluster(tmp_path: Path) -> None:
    seeds = ("3 + 4?", "3 + 4?", "5 + 6?")
    rows = [
        {"question": f"{n} + {seed}", "answer": "7", "solution": "", "seed_question": seed}
        for n, seed in enumerate(seeds)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    problems = read_problems(SourceConfig(name="gsm_plus", path=str(tmp_path / "rows.jsonl")), role="benchmark")
    template = judged_group(0, (RIGHT, 10, "stop"))
    report = report_of(*(replace(template, group=replace(template.group, problem=problem)) for problem in problems))
    first, second, third = (problem.cluster for problem in report.problems)
    assert first == second != third
