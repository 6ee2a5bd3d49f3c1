"""Sources of reasoning-gym: endless, the same in every process, and different for every seed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from distill.config import EvalConfig, SourceConfig, VerifierConfig
from distill.curate.settings import source_settings
from distill.errors import DistillError
from distill.evals.benchmarks import read_benchmark
from distill.problems import ProblemSource, gym, read_problems
from distill.records import Completion, Outcome
from distill.verifiers import Judge
from distill.verifiers.limits import Limits
from tests.loading import loaded_modules

needs_gym = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None, reason="reasoning-gym is not installed"
)


def task(name: str, limit: int | None = 3, verifier: str | None = None, **source: Any) -> ProblemSource:
    config = SourceConfig(name=f"reasoning-gym:{name}", limit=limit, **source)
    return read_problems(config, role="source", verifier=verifier)


def asked(problems: ProblemSource) -> list[tuple[str, str]]:
    return [(problem.question, problem.answer) for problem in problems]


@needs_gym
def test_problems_bring_an_id_a_gold_and_the_verifier_that_reads_it() -> None:
    problems = list(
        task("chain_sum", options={"min_terms": 2, "max_terms": 2, "max_digits": 1, "allow_negation": False})
    )
    assert [problem.index for problem in problems] == [0, 1, 2]
    assert {problem.source for problem in problems} == {"reasoning-gym:chain_sum"}
    assert {problem.verifier for problem in problems} == {"reasoning-gym"}
    assert json.loads(problems[0].metadata) == {"task": "chain_sum", "seed": 0}
    for problem in problems:  # 'State the final answer to the following arithmetic problem: 4 + 3 ='
        left, sign, right = problem.question.removesuffix(" =").split()[-3:]
        assert int(problem.answer) == int(left) + (int(right) if sign == "+" else -int(right))
    with Judge() as judge:
        verdicts = [judge.judge(problem, Completion(f"The answer is {problem.answer}")) for problem in problems]
    assert {verdict.outcome for verdict in verdicts} == {Outcome.CORRECT}


@needs_gym
@pytest.mark.parametrize(
    "name",
    [
        "acre",  # draws a whole data set at once
        "ransom_note",  # takes letters from a set
        "list_functions",  # draws from the global generator
    ],
)
def test_a_longer_run_extends_a_shorter_one_whatever_process_asks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym, "BLOCK", 20)
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    short = list(task(name, 60))
    monkeypatch.setenv("PYTHONHASHSEED", "2")
    long = list(task(name, 65))
    assert long[:60] == short
    assert [problem.index for problem in long] == list(range(65))
    assert len({problem.question for problem in long}) > 45, "blocks differ"


@needs_gym
def test_seed_options_and_split_each_give_other_problems_under_other_ids() -> None:
    ways: list[dict[str, Any]] = [{}, {"seed": 1}, {"options": {"min_digits": 2}}, {"split": "test"}]
    problems = [list(task("chain_sum", 20, **way)) for way in ways]
    assert len({problem.id for each in problems for problem in each}) == 80
    questions = [{problem.question for problem in each} for each in problems]
    # A seed's neighbour has none of its problems; in the package itself it has all but one.
    assert not questions[0] & questions[1]
    assert not questions[0] & questions[3]
    assert questions[0] != questions[2]
    assert task("chain_sum").split == "train"
    assert read_problems(SourceConfig(name="reasoning-gym:chain_sum", limit=1), role="benchmark").split == "test"


@needs_gym
def test_what_a_task_fails_at_or_gives_no_gold_for_is_rejected_with_a_reason(tmp_path: Path) -> None:
    source = task("ab", 500)  # of whose problems some end in nothing
    problems = list(source)
    assert len(problems) + len(source.rejected) == 500
    assert {row.reason for row in source.rejected} == {"empty_answer"}
    gone = {row.row - 1 for row in source.rejected}
    assert [problem.index for problem in problems] == [index for index in range(500) if index not in gone]
    with pytest.raises(DistillError, match="task 'graph_color' makes no problem with a gold answer") as caught:
        list(task("graph_color"))
    assert caught.value.hint.startswith("empty_answer; its own scorer may judge it: --set verifier.kind=")


@needs_gym
def test_the_tasks_own_scorer_gets_the_whole_entry_where_it_is_safe() -> None:
    (problem,) = task("graph_color", 1, verifier=gym.OWN_SCORER)
    entry = json.loads(problem.answer)
    assert entry["metadata"]["source_dataset"] == "graph_color"
    assert problem.verifier == gym.OWN_SCORER
    right = json.dumps(entry["metadata"]["possible_answer"])
    with Judge(limits=Limits(timeout_seconds=60)) as judge:  # in which the scorer imports the package
        assert judge.judge(problem, Completion(f"<answer>{right}</answer>")).outcome is Outcome.CORRECT
        assert judge.judge(problem, Completion("<answer>{}</answer>")).outcome is Outcome.INCORRECT
    with pytest.raises(DistillError, match="the scorer of 'countdown' is not among those"):
        task("countdown", verifier=gym.OWN_SCORER)


@needs_gym
@pytest.mark.parametrize(
    ("name", "options", "message", "hint"),
    [
        ("chain_sm", {}, "reasoning-gym has no task 'chain_sm'", "did you mean 'chain_sum'?"),
        ("codeio", {}, "task 'codeio' is left out: it makes problems by running", "name another task"),
        ("chain_sum", {"min_term": 2}, "task 'chain_sum' has no option 'min_term'", "did you mean 'min_terms'?"),
        ("chain_sum", {"size": 2}, "task 'chain_sum' has no option 'size'", "known: min_terms,"),
        ("chain_sum", {"min_terms": 99}, "cannot be made with these options: max_terms must be >= min_terms", "see source."),
    ],
)  # fmt: skip
def test_an_unknown_task_or_option_is_an_error(name: str, options: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(DistillError) as caught:
        list(task(name, options=options))
    assert message in str(caught.value)
    assert caught.value.hint.startswith(hint)


def test_a_source_without_end_needs_a_limit() -> None:
    with pytest.raises(DistillError, match="'reasoning-gym:chain_sum' has no end") as caught:
        task("chain_sum", None)
    assert "--limit" in caught.value.hint


@pytest.mark.parametrize(
    "source", [{"split": "dev"}, {"path": __file__ + ".jsonl"}, {"answer_after": "####"}, {"revision": "main"}]
)
def test_what_a_task_does_not_have_cannot_be_asked_of_it(source: dict[str, Any]) -> None:
    with pytest.raises(DistillError, match=r"no split|no file|means nothing for 'reasoning-gym:chain_sum'"):
        task("chain_sum", **source)


@needs_gym
def test_the_settings_of_a_run_name_the_task_its_seed_options_and_the_packages_version() -> None:
    data = source_settings(task("chain_sum", seed=3, options={"min_terms": 2}))["data"]
    version = importlib.metadata.version("reasoning-gym")
    assert data == {"task": "chain_sum", "seed": 3, "options": {"min_terms": 2}, "reasoning-gym": version}
    assert source_settings(task("chain_sum", 5))["data"] == source_settings(task("chain_sum", 9))["data"]


@needs_gym
def test_a_task_is_a_benchmark_too() -> None:
    config = EvalConfig(benchmarks=("reasoning-gym:gcd",), limit=2, verifier=VerifierConfig())
    benchmark = read_benchmark(config, "reasoning-gym:gcd")
    assert benchmark.full_name == "reasoning-gym:gcd:test"
    assert [problem.id for problem in benchmark.problems] == [
        "reasoning-gym:gcd/test/0/00000",
        "reasoning-gym:gcd/test/0/00001",
    ]


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(DistillError, match="need the package, which is not installed") as caught:
        list(task("chain_sum"))
    assert "distill-reasoning[gym]" in caught.value.hint


STAND_IN = """
import signal, sys
sys.stdin.readline()
{}
"""


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [("signal.pause()", "works on one problem for more than 0 seconds"), ("", "of 'chain_sum' ended")],
)
def test_a_child_that_hangs_or_dies_is_an_error_and_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, message: str
) -> None:
    (tmp_path / "gym_process.py").write_text(STAND_IN.format(behaviour))
    monkeypatch.setattr(gym, "__file__", str(tmp_path / "gym.py"))
    monkeypatch.setattr(gym, "REPLY_SECONDS", 0.2 if behaviour else 60.0)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0")
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def remembered(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remembered)
    with pytest.raises(DistillError, match=message):
        list(task("chain_sum"))
    assert [child.returncode is not None for child in started] == [True]


@needs_gym
def test_the_package_stays_out_of_this_process() -> None:
    loaded = loaded_modules(
        "from distill.config import SourceConfig\n"
        "from distill.problems import read_problems\n"
        "problems = iter(read_problems(SourceConfig(name='reasoning-gym:gcd', limit=10**6), role='source'))\n"
        "next(problems)\n"
        "problems.close()\n"
    )
    assert "distill.problems" in loaded
    assert loaded & {"reasoning_gym", "numpy", "sympy", "matplotlib"} == set()
