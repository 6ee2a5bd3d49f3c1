"""The judge: one door to every verifier, the user's own among them."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distill.config import CurateConfig, VerifierConfig
from distill.curate.settings import rescoring_settings
from distill.errors import DistillError
from distill.records import Completion, Group, Outcome, Problem, Prompt, Verdict
from distill.verifiers import Judge, gold_problem, open_judge, verify
from distill.verifiers.audit import Disagreement
from distill.verifiers.limits import WITHOUT_EFFECT, Limits
from distill.verifiers.policy import Policy
from tests.loading import loaded_modules

USERS = "tests.user_verifiers"


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge() as judge:
        yield judge


def test_each_problem_is_judged_by_its_own_kind(judge: Judge) -> None:
    kinds = {
        "math": ("x+1", r"\boxed{1+x}"),
        "number": ("5", "#### 5.0"),
        "text": ("Yes", "Yes"),
        "choice": ("B", "(B)"),
    }
    for kind, (gold, text) in kinds.items():
        problem = Problem("1", "?", gold, verifier=kind)
        assert judge.judge(problem, Completion(text)).outcome == "correct", kind


def test_a_judges_kind_overrules_the_problems() -> None:
    with Judge(kind="text") as judge:
        assert judge.judge(Problem("1", "?", "5"), Completion("5.0")).outcome == "incorrect"


def test_the_completion_brings_its_finish_reason_and_its_opened_thinking(judge: Judge) -> None:
    problem = Problem("1", "?", "5")
    assert judge.judge(problem, Completion("<think>5", finish_reason="length")).reason == "truncated"
    assert judge.judge(problem, Completion("5", think_opened=True)).reason == "think_unclosed"
    assert judge.judge(problem, Completion("so</think>5", think_opened=True)).outcome == "correct"


def test_the_flexible_score_is_asked_for(judge: Judge) -> None:
    problem = Problem("1", "?", "5")
    completion = Completion("First 3 of them. Then 2 come. That is 5 in all, or so it seems to be here.")
    assert judge.judge(problem, completion).reason == "no_marker"
    assert judge.judge(problem, completion, flexible=True).outcome == "correct"


@pytest.mark.parametrize(
    ("kind", "gold", "text", "outcomes", "num_readings"),
    [
        ("number", "5", r"\boxed{5}", ("correct", "correct"), 1),
        ("number", "5", "First 3, then 2. That is 5 in all, or so it seems to be.", ("no_answer", "correct"), 2),
        ("number", "5", "The answer is 5 feet in 3 seconds.", ("incorrect", "correct"), 2),
        ("number", "5", r"\boxed{6}", ("incorrect", "incorrect"), 2),
        ("number", "five or so", r"\boxed{5}", ("unverified", "unverified"), 1),
        ("choice", "B", "Answer: B or C", ("no_answer", "correct"), 2),
    ],
)
def test_both_scores_come_together_and_the_text_is_read_again_only_where_that_can_help(
    kind: str, gold: str, text: str, outcomes: tuple[str, str], num_readings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings: list[bool] = []
    with Judge(kind) as judge:
        problem, completion = Problem("1", "?", gold), Completion(text)
        expected = tuple(judge.judge(problem, completion, flexible=flexible) for flexible in (False, True))
        once = judge.judge

        def counted(problem: Problem, completion: Completion, *, flexible: bool = False) -> Verdict:
            readings.append(flexible)
            return once(problem, completion, flexible=flexible)

        monkeypatch.setattr(judge, "judge", counted)
        both = judge.judge_both(problem, completion)
    assert both == expected
    assert tuple(verdict.outcome for verdict in both) == outcomes
    assert readings == [False, True][:num_readings]


GOLDS = ("x+1", r"\sqrt{8}", "(1,2)", "listen", r"\frac{1}{3}")
ANSWERS = ("1+x", r"2\sqrt{2}", "1,2", "x", "silent", "0.333333")
PAIRS = tuple(
    (Problem(f"{number}", "?", gold), Completion(rf"\boxed{{{answer}}}"))
    for number, (gold, answer) in enumerate([*itertools.product(GOLDS, ANSWERS), ("5", "99999999!")])
)
LIMITS = Limits(timeout_seconds=10.0)  # by far enough for all but the last


@pytest.fixture(scope="module")
def first_verdicts() -> list[Verdict]:
    with Judge(limits=dataclasses.replace(LIMITS, workers=1)) as judge:
        return [judge.judge(*pair) for pair in PAIRS]


def test_a_verdict_does_not_depend_on_the_order(first_verdicts: list[Verdict]) -> None:
    with Judge(limits=LIMITS) as judge:
        assert [judge.judge(*pair) for pair in PAIRS[-2::-1]] == first_verdicts[-2::-1]
        assert [judge.judge(*pair) for pair in PAIRS[:-1]] == first_verdicts[:-1]  # and not on what is remembered


def test_a_verdict_does_not_depend_on_threads_and_workers(first_verdicts: list[Verdict]) -> None:
    with Judge(limits=dataclasses.replace(LIMITS, workers=3)) as judge, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda pair: judge.judge(*pair), PAIRS)) == first_verdicts


def test_a_verdict_does_not_depend_on_asyncio(first_verdicts: list[Verdict]) -> None:
    async def judge_all(judge: Judge) -> list[Verdict]:
        return await asyncio.gather(*(asyncio.to_thread(judge.judge, *pair) for pair in PAIRS[:-1]))

    with Judge(limits=dataclasses.replace(LIMITS, workers=1)) as judge:
        assert asyncio.run(judge_all(judge)) == first_verdicts[:-1]


def test_a_verdict_does_not_depend_on_the_cache(first_verdicts: list[Verdict], tmp_path: Path) -> None:
    limits = dataclasses.replace(LIMITS, cache=str(tmp_path / "verdicts.db"))
    with Judge(limits=limits) as judge:
        assert [judge.judge(*pair) for pair in PAIRS[:-1]] == first_verdicts[:-1]
    with Judge(limits=limits) as judge:
        assert [judge.judge(*pair) for pair in PAIRS[:-1]] == first_verdicts[:-1]
        assert judge.engine.pool._workers == []  # nobody was asked
        assert judge.judge(*PAIRS[-1]) == first_verdicts[-1]  # and what the file does not hold is asked


@pytest.mark.parametrize("workers", [1, 2])
def test_a_group_is_judged_as_its_completions_are(workers: int, first_verdicts: list[Verdict]) -> None:
    with Judge(limits=dataclasses.replace(LIMITS, workers=workers)) as judge:
        for start in range(0, len(PAIRS) - 1, len(ANSWERS)):
            pairs = PAIRS[start : start + len(ANSWERS)]
            group = Group(pairs[0][0], Prompt((), "plain", "?"), tuple(completion for _, completion in pairs))
            assert list(judge.judge_group(group)) == first_verdicts[start : start + len(ANSWERS)]
        assert len(judge.engine.pool._workers) <= workers


def test_the_completions_of_a_group_are_checked_at_the_same_time(tmp_path: Path) -> None:
    """Each of the two checks opens one end of a pipe, which ends when the other end is opened."""
    pipes = [tmp_path / "first", tmp_path / "second"]
    for pipe in pipes:
        os.mkfifo(pipe)
    problem = Problem("1", "?", "", verifier=f"{USERS}:meet_in_turn")
    completions = tuple(Completion(f"{pipes[number]} {pipes[1 - number]}") for number in range(2))
    with Judge(limits=Limits(timeout_seconds=60, workers=2)) as judge:
        verdicts = judge.judge_group(Group(problem, Prompt((), "plain", "?"), completions))
    assert [verdict.outcome for verdict in verdicts] == ["correct", "correct"]


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """Whatever a shell, which has its background processes ignore SIGINT, has handed down."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_an_interrupt_ends_the_checks_of_a_group(tmp_path: Path) -> None:
    pipes = [tmp_path / "first", tmp_path / "second"]
    for pipe in pipes:
        os.mkfifo(pipe)

    def interrupt() -> None:
        with pipes[0].open("rb") as first, pipes[1].open("rb") as second:
            assert first.read(4) == second.read(4) == b"here"
            os.kill(os.getpid(), signal.SIGINT)
            assert first.read() == second.read() == b""  # the ends come when the checks have ended

    group = Group(
        Problem("1", "?", "", verifier=f"{USERS}:hold"),
        Prompt((), "plain", "?"),
        tuple(map(Completion, map(str, pipes))),
    )
    with Judge(limits=Limits(timeout_seconds=60, workers=2)) as judge, ThreadPoolExecutor(1) as threads:
        ended = threads.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            judge.judge_group(group)
        ended.result()
        assert judge.judge(Problem("1", "?", "x+1"), Completion(r"\boxed{1+x}")).outcome == "correct"


def test_a_group_without_completions_has_no_verdicts(judge: Judge) -> None:
    assert judge.judge_group(Group(Problem("1", "?", "5"), Prompt((), "plain", "?"), ())) == ()


@pytest.mark.parametrize(
    ("name", "text", "gold", "expected"),
    [
        ("is_even", "so 4", "", ("correct", "custom")),
        ("is_prepared", "", "", ("correct", "custom")),
        ("is_even", "so 5", "", ("incorrect", "custom")),
        ("share_of_gold", "ab", "ab", ("correct", "custom")),
        ("share_of_gold", "a", "ab", ("incorrect", "custom")),
        ("share_of_gold", "a", "", ("unverified", "no_verdict")),
        ("full_verdict", "a", "", ("no_answer", "mine")),
        ("broken", "a", "a", ("unverified", "verifier_error:IndexError")),
        ("wrong_type", "a", "a", ("unverified", "verifier_error:TypeError")),
        ("wrong_verdict", "a", "a", ("unverified", "verifier_error:TypeError")),
        ("endless_verdict", "a", "a", ("unverified", "verifier_error:ValueError")),
        ("leave", "a", "a", ("unverified", "verifier_error:SystemExit")),
        ("vanish", "a", "a", ("unverified", "worker_died")),
        ("be_killed", "a", "a", ("unverified", "worker_died")),
        ("chatter", "a", "a", ("correct", "custom")),
        ("read_stdin", "a", "a", ("correct", "custom")),
    ],
)
def test_a_verifier_of_the_users_own_is_called_with_text_and_gold(
    name: str, text: str, gold: str, expected: tuple[str, str]
) -> None:
    verdict = verify(text, gold, f"{USERS}:{name}")
    assert (verdict.outcome.value, verdict.reason) == expected


def test_a_verifier_of_the_users_own_that_hangs_or_hogs_memory_is_ended() -> None:
    with Judge(limits=Limits(timeout_seconds=0.3, memory_mb=512)) as judge:
        for name, reason in {"hang": "timeout", "hog": "memory", "is_even": "custom"}.items():
            verdict = judge.judge(Problem("1", "?", "", verifier=f"{USERS}:{name}"), Completion("4"))
            assert verdict.reason == reason


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("maths", "no verifier is called 'maths'"),
        (f"{USERS}:no_such", "has no 'no_such'"),
        ("no.such.module:verify", "module 'no.such.module' of the verifier 'no.such.module:verify' cannot be imported"),
        (f"{USERS}:not_a_function", "is no function"),
        ("__main__:verify", "cannot be found by the process that runs it"),
        ("tests.data.no_module:verify", "cannot be imported"),
    ],
)
def test_a_verifier_that_cannot_be_had_is_said_at_once(kind: str, message: str) -> None:
    for ask in (
        lambda: Judge(kind),
        lambda: verify("5", "5", kind),
        lambda: gold_problem(Problem("1", "?", "5"), kind),
    ):
        with pytest.raises(DistillError, match=message) as caught:
            ask()
        assert caught.value.hint


def test_a_module_that_fails_is_told_from_one_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "users_own.py").write_text("import numpy.no_such_part\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(DistillError, match=r"cannot be loaded: ModuleNotFoundError: No module named 'numpy.no_such"):
        Judge("users_own:verify")


@pytest.mark.parametrize(
    ("kind", "gold", "reason"),
    [
        ("math", "5", ""),
        ("math", r"\frac{\pi}{2}", ""),
        ("math", r"\text{Evelyn}", ""),
        ("math", "", "gold_unparsed"),
        ("math", r"\frac{1}{", "gold_unparsed"),
        ("math", "3 @ 4 + x", "gold_unparsed"),
        ("math", "9" * 500, "too_long"),
        ("number", "1,234", ""),
        ("number", "$18", ""),
        ("number", "x", "gold_unparsed"),
        ("choice", "C", ""),
        ("choice", "K", "gold_unparsed"),
        ("text", "Yes", ""),
        ("text", " ", "gold_unparsed"),
        (f"{USERS}:is_even", "", ""),
    ],
)
def test_a_gold_that_can_never_be_verified_is_found_before_sampling(
    judge: Judge, kind: str, gold: str, reason: str
) -> None:
    assert gold_problem(Problem("1", "?", gold, verifier=kind), judge=judge) == reason


def test_the_versions_that_verdicts_depend_on_are_named() -> None:
    versions = Judge.versions()
    assert set(versions) == {"math-verify", "latex2sympy2_extended", "sympy", "antlr4-python3-runtime", "gmpy2"}
    assert versions["sympy"][0].isdigit()


def test_neither_importing_nor_the_fast_layers_load_the_engine() -> None:
    loaded = loaded_modules(
        "from distill.verifiers import verify\n"
        "assert verify('#### 5', '5.0').outcome == 'correct'\n"
        "assert verify('(B)', 'B', 'choice').outcome == 'correct'\n"
    )
    assert loaded & {"sympy", "math_verify", "torch", "numpy", "pydantic"} == set()


def test_a_recipe_is_all_that_a_judge_needs(tmp_path: Path) -> None:
    config = VerifierConfig(
        kind="number", options={"percent": "strict"}, timeout_seconds=7, memory_mb=300, workers=3, audit_fast_path=0.5
    )
    with open_judge(config, ("A:",)) as judge:
        assert (judge.kind, judge.markers, judge.policy) == ("number", ("A:",), Policy(percent="strict"))
        assert judge.limits == Limits(timeout_seconds=7, memory_mb=300, workers=3, audit_fast_path=0.5)
        assert (judge.engine.pool.size, judge.engine.pool.memory_mb, judge.engine.timeout_seconds) == (3, 300, 7)
        assert judge.judge(Problem("1", "?", "50"), Completion("A: 50%")).outcome == "incorrect"
    with open_judge(config.model_copy(update={"markers": ("B:",)}), ("A:",)) as judge:
        assert judge.markers == ("B:",)
    with pytest.raises(DistillError, match=r"no option 'verifier\.options\.percentage'"):
        open_judge(VerifierConfig(options={"percentage": "strict"}))


def test_every_limit_is_an_option_of_the_recipe() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(Limits)}
    config = VerifierConfig()
    assert {name: getattr(config, name) for name in fields} == fields
    assert set(fields) > WITHOUT_EFFECT


def test_what_judging_costs_is_no_setting_of_a_run_and_what_changes_verdicts_is() -> None:
    def scores(**options: object) -> object:
        config = CurateConfig(verifier=VerifierConfig(**options))  # type: ignore[arg-type]
        return rescoring_settings(config, {"scores": {"verifier": {"markers": ["A:"]}}})["scores"]

    first = scores()
    assert scores(workers=3, cache="verdicts.db", audit_fast_path=0.5) == first
    for change in (
        {"kind": "number"}, {"markers": ("B:",)}, {"options": {"percent": "strict"}}, {"timeout_seconds": 1.0},
        {"memory_mb": 512}, {"allow_code": True}, {"allow_network": True},
    ):  # fmt: skip
        assert scores(**change) != first


def test_an_audit_asks_the_engine_about_what_the_cheap_layers_decide() -> None:
    pairs = [("5", "5.0"), ("0.5", r"\frac{1}{2}"), ("7", "8"), ("listen", "silent"), ("x+1", "1+x")]
    with Judge(kind="math", limits=Limits(audit_fast_path=1.0, workers=2)) as judge:
        for gold, answer in pairs:
            completions = (Completion(rf"\boxed{{{answer}}}"), Completion("<think>Well."))
            judge.judge_group(Group(Problem("1", "?", gold), Prompt((), "plain", "?"), completions))
        report = judge.audit()
    # x+1 went to the engine itself; of the other four it says something else about words, whose letters it multiplies.
    assert (report.decided, report.audited, report.undecided, report.disagreeing) == (4, 4, 0, 1)
    assert report.disagreements == (Disagreement("listen", "silent", "words", Outcome.INCORRECT, Outcome.CORRECT),)


def test_an_audit_covers_the_same_share_every_time() -> None:
    pairs = [(Problem("1", "?", "5"), Completion(f"#### {number}")) for number in range(50)]
    reports = []
    for order in (pairs, pairs[::-1]):
        with Judge(kind="number", limits=Limits(audit_fast_path=0.2)) as judge:
            for pair in order:
                judge.judge(*pair)
            reports.append(judge.audit())
    assert reports[0] == reports[1]
    assert reports[0].decided == 50
    assert 3 < reports[0].audited < 20


def test_without_an_audit_and_for_kinds_that_are_none_of_the_engines_business_nothing_is_asked() -> None:
    with Judge() as judge:
        judge.judge(Problem("1", "?", "5"), Completion("#### 5"))
        assert judge.audit().decided == 0
    with Judge(kind="choice", limits=Limits(audit_fast_path=1.0)) as judge:
        judge.judge(Problem("1", "?", "B"), Completion("(B)"))
        assert judge.audit().audited == 0
        assert judge.engine.pool._workers == []
