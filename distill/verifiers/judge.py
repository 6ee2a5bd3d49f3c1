"""Judge completions: the right verifier for the kind of answer, with a pool of workers behind them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from distill.records import Completion, FinishReason, Group, Outcome, Problem, Verdict
from distill.registry import load
from distill.verifiers.audit import Auditor, AuditReport
from distill.verifiers.code.sandbox import require_sandbox
from distill.verifiers.gold_problems import GOLD_PROBLEMS
from distill.verifiers.limits import Limits
from distill.verifiers.policy import Policy, read_policy
from distill.verifiers.setting import Setting
from distill.verifiers.versions import engine_versions
from distill.verifiers.workers.custom import check_kind, verify_custom
from distill.verifiers.workers.engine import Engine
from distill.verifiers.workers.pool import NoWorkerError, Pool
from distill.verifiers.workers.verdict_cache import VerdictCache
from distill.verifiers.workers.verdict_store import VerdictStore

if TYPE_CHECKING:
    from distill.config import VerifierConfig

OPEN_TO_A_FLEXIBLE_READING = frozenset({Outcome.INCORRECT, Outcome.NO_ANSWER})


def open_judge(config: VerifierConfig, markers: Sequence[str] = ()) -> Judge:
    """The judge that a recipe describes.

    Args:
        markers: the source's own, which the recipe's replace.

    Raises:
        DistillError: no such verifier or option, or a cache that cannot be used.
    """
    limits = Limits(
        timeout_seconds=config.timeout_seconds,
        memory_mb=config.memory_mb,
        workers=config.workers,
        audit_fast_path=config.audit_fast_path,
        cache=config.cache,
        allow_code=config.allow_code,
        allow_network=config.allow_network,
    )
    own = markers if config.markers is None else config.markers
    return Judge(config.kind, own, policy=read_policy(config.options), limits=limits)


class Judge:
    """Judges completions, from as many threads as like to; holds the workers, which start when they are needed.

    In ``asyncio`` say ``await asyncio.to_thread(judge.judge, problem, completion)``. A process that is forked from
    this one may use its copy, which starts workers of its own.

    A verifier of the user's own ('pkg.module:function') is called in a worker with the completion's whole text and
    the gold, and returns a Verdict, a bool, a float (1.0 is correct) or None (nobody can tell). A completion on which
    it raises, hangs, dies or takes too much memory is unverified.

    >>> with Judge(kind="number", markers=("A:",)) as judge:
    ...     judge.judge(Problem("1", "2 + 2?", "4"), Completion("It is A: 4.0")).outcome.value
    'correct'
    """

    def __init__(
        self,
        kind: str | None = None,
        markers: Sequence[str] = (),
        *,
        policy: Policy = Policy(),
        limits: Limits = Limits(),
    ) -> None:
        """Take ``kind`` for every problem, or each problem's own when it is None.

        Raises:
            DistillError: no such verifier, or a cache that cannot be used.
        """
        self.kind = kind
        self.markers = tuple(markers)
        self.policy = policy
        self.limits = limits
        cache = VerdictCache(VerdictStore(Path(limits.cache).expanduser()) if limits.cache else None)
        self.engine = Engine(limits.timeout_seconds, pool=Pool(limits.num_workers, limits.memory_mb), cache=cache)
        self._memory = Engine(pool=Pool(0), cache=cache)  # which knows only what the engine was asked before
        self._auditor = Auditor(limits.audit_fast_path)
        if kind is not None:
            check_kind(kind, self.engine.pool)
        if kind == "code":
            require_sandbox(limits)

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def judge(self, problem: Problem, completion: Completion, *, flexible: bool = False) -> Verdict:
        """The verdict on one completion; ``flexible`` also takes a loosely stated answer.

        Raises:
            DistillError: no such verifier, or math-verify cannot be used here.
        """
        return self._judge(problem, completion, flexible, self.engine)

    def judge_both(self, problem: Problem, completion: Completion) -> tuple[Verdict, Verdict]:
        """The strict verdict and the flexible one, which can only differ where the strict one is no success.

        Raises:
            DistillError: as ``judge`` does.

        >>> with Judge(kind="number") as judge:
        ...     [verdict.outcome.value for verdict in judge.judge_both(Problem("1", "", "8"), Completion("4, then 8."))]
        ['no_answer', 'correct']
        """
        return both_readings(lambda flexible: self.judge(problem, completion, flexible=flexible))

    def judge_group(self, group: Group, *, flexible: bool = False) -> tuple[Verdict, ...]:
        """The verdicts on all completions of a group; those that need a worker are worked on at the same time.

        Raises:
            DistillError: as ``judge`` does.
        """
        verdicts = [self._judge_at_once(group.problem, completion, flexible) for completion in group.completions]
        slow = [completion for completion, verdict in zip(group.completions, verdicts, strict=True) if verdict is None]
        found = iter(self._judge_together(group.problem, slow, flexible))
        return tuple(verdict or next(found) for verdict in verdicts)

    def close(self) -> None:
        """End the workers and close the cache; judging again starts others."""
        self.engine.close()

    def audit(self) -> AuditReport:
        """What ``limits.audit_fast_path`` has found so far."""
        return self._auditor.report()

    @staticmethod
    def versions() -> dict[str, str]:
        """The versions that verdicts depend on; 'absent' where a package is not installed."""
        return dict(engine_versions())

    def _judge(self, problem: Problem, completion: Completion, flexible: bool, engine: Engine) -> Verdict:
        kind = self.kind or problem.verifier
        setting = Setting(
            options=problem.options,
            markers=self.markers,
            finish_reason=completion.finish_reason,
            think_opened=completion.think_opened,
            flexible=flexible,
            policy=self.policy,
            limits=self.limits,
            engine=engine,
        )
        verdict = verify_with(kind, completion.text, problem.answer, setting)
        self._auditor.look_at(kind, problem.answer, verdict, setting)
        return verdict

    def _judge_at_once(self, problem: Problem, completion: Completion, flexible: bool) -> Verdict | None:
        """The verdict if no worker is needed for it, else None."""
        try:
            return self._judge(problem, completion, flexible, self._memory)
        except NoWorkerError:
            return None

    def _judge_together(self, problem: Problem, completions: Sequence[Completion], flexible: bool) -> list[Verdict]:
        """The verdicts of completions that need a worker each."""
        from concurrent.futures import ThreadPoolExecutor

        def judge(completion: Completion) -> Verdict:
            return self.judge(problem, completion, flexible=flexible)

        num_threads = min(len(completions), self.limits.num_workers)
        if num_threads < 2:
            return [judge(completion) for completion in completions]
        with ThreadPoolExecutor(num_threads) as threads:
            try:
                return list(threads.map(judge, completions))
            except BaseException:  # on Ctrl-C nobody wants to wait for the deadlines of what still runs
                threads.shutdown(wait=False, cancel_futures=True)
                self.engine.pool.close()
                raise


def verify(
    text: str,
    gold: str,
    kind: str = "math",
    *,
    options: Sequence[str] = (),
    markers: Sequence[str] = (),
    finish_reason: FinishReason = "stop",
    think_opened: bool = False,
) -> Verdict:
    r"""Judge one completion's text against a gold answer; for many completions use ``Judge``.

    >>> verify(r"<think>17?</think> It is \boxed{\frac{1}{2}}.", "0.5").outcome.value
    'correct'
    >>> verify("First 3, then 1 more. So 4 in all.", "4").reason, verify("<think>4", "4", finish_reason="length").reason
    ('no_marker', 'truncated')
    """
    setting = Setting(tuple(options), tuple(markers), finish_reason, think_opened)
    return verify_with(kind, text, gold, setting)


def both_readings(judge: Callable[[bool], Verdict]) -> tuple[Verdict, Verdict]:
    """The strict and the flexible verdict by what judges with or without flexibility; asked twice only where needed."""
    strict = judge(False)
    return strict, judge(True) if strict.outcome in OPEN_TO_A_FLEXIBLE_READING else strict


def verify_with(kind: str, text: str, gold: str, setting: Setting) -> Verdict:
    """The verdict of the verifier called ``kind``, one of ours or the user's own."""
    if ":" in kind:
        return verify_custom(kind, text, gold, setting.engine)
    verdict: Verdict = load("verifiers", kind)(text, gold, setting)
    return verdict


def gold_problem(problem: Problem, kind: str | None = None, judge: Judge | None = None) -> str:
    """Why no completion can ever be verified against this gold, before one is paid for; '' when one can.

    Raises:
        DistillError: no such verifier.

    >>> gold_problem(Problem("1", "2 + 2?", "four or so", verifier="number")), gold_problem(Problem("2", "?", "4"))
    ('gold_unparsed', '')
    """
    kind = kind or (judge.kind if judge else None) or problem.verifier
    setting = Setting(policy=judge.policy, limits=judge.limits, engine=judge.engine) if judge else Setting()
    if kind in GOLD_PROBLEMS:
        return GOLD_PROBLEMS[kind](problem, setting)
    check_kind(kind, setting.engine.pool)  # a misspelt kind is said now
    return ""
