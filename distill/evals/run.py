"""Evaluate one model on benchmarks: the model is loaded once, every finished problem is on disk.

A folder holds one subfolder per benchmark with ``settings.json``, ``completions.jsonl`` and
``report.json``. An evaluation that was interrupted goes on with the problems that are missing, and
its report equals that of one which never was: a completion depends on the seed, its problem and its
index, not on what was sampled before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config import EvalConfig, RecordedConfig, ResumePolicy
from distill.errors import DistillError
from distill.evals.benchmarks import Benchmark, read_benchmarks
from distill.evals.examples import Examples
from distill.evals.lm_eval import write_results
from distill.evals.report import REPORT_FILE, Report, build_report, write_report
from distill.evals.rescore import rescore
from distill.evals.store import JudgedGroup, Store
from distill.evals.subject import Subject, describe_model
from distill.evals.through_lm_eval import evaluate_through_lm_eval
from distill.evals.versions import evaluation_versions
from distill.generate import open_backend
from distill.models import model_fingerprint
from distill.prompts import build_prompt
from distill.records import Problem, Prompt
from distill.verifiers import gold_problem, open_judge
from distill.verifiers.limits import WITHOUT_EFFECT
from distill.verifiers.rules import OUR_RULE, check_rule

if TYPE_CHECKING:
    from distill.generate.base import Backend

Progress = Callable[[str, int, int | None], None]


def evaluate(
    config: EvalConfig,
    out: Path | None = None,
    *,
    resume: ResumePolicy = "if-possible",
    progress: Progress | None = None,
) -> list[Report]:
    """Evaluate a model on every benchmark of the config, one report for each.

    Where ``recorded.path`` is set, the completions there are scored instead; see ``distill.evals.rescore``. Where
    ``via`` is 'lm-eval', see ``distill.evals.through_lm_eval``.

    Args:
        out: folder of the evaluation; None keeps nothing on disk.
        resume: what to do with the completions that ``out`` holds: 'if-possible' goes on with them if
            they were made with the same settings, 'always' also wants some to be there, 'never' wants none.
        progress: called with a stage, how far it got since the last call, and its total or None.

    Raises:
        DistillError: no benchmark, an unreadable one, or one whose folder was made with other settings;
            a verifier that does not exist or may not be used here. All of these before the model is loaded.
    """
    if config.recorded.path is not None:
        return rescore(config, out, progress=progress)
    if config.via == "lm-eval":
        return evaluate_through_lm_eval(config, out)
    subject = describe_model(config.model)
    benchmarks = read_benchmarks(config)
    report_progress = progress or (lambda *_: None)
    with ExitStack() as stack:

        @cache
        def backend() -> Backend:
            return stack.enter_context(closing(_open_backend(config, subject.path)))

        # All at once, so that a folder of other settings is found before hours are spent on another benchmark.
        runs = [stack.enter_context(closing(_BenchmarkRun(config, subject, item, out, resume))) for item in benchmarks]
        for run in runs:
            run.check_golds()
            run.find_missing()
        reports = []
        for run in runs:
            run.sample(backend, report_progress)
            reports.append(run.report())
            run.close()
    return reports


class _BenchmarkRun:
    """One benchmark while it is evaluated: its judge and its store are open."""

    def __init__(
        self, config: EvalConfig, subject: Subject, benchmark: Benchmark, out: Path | None, resume: ResumePolicy
    ) -> None:
        verifier = benchmark.verifier
        self.subject = subject
        self.benchmark = benchmark
        self.rules = config.rules
        for rule in config.rules:
            if rule != OUR_RULE:
                check_rule(rule, benchmark.name)
        self.judge = open_judge(verifier)
        self.examples = Examples(config, benchmark)
        self.settings = _settings(config, subject, benchmark, self.judge.versions())
        if self.examples.fingerprint:
            self.settings["examples"] = {"count": config.examples.count, "fingerprint": self.examples.fingerprint}
        self.folder = None if out is None else out / benchmark.folder_name
        self.store = Store(self.folder, self.settings, resume)
        self.missing: list[Problem] = []
        self.unverifiable: dict[str, str] = {}

    def check_golds(self) -> None:
        """Find the problems whose gold answers can never be verified; they are sampled and counted all the same.

        Raises:
            DistillError: a problem's verifier does not exist, or may not be used here.
        """
        reasons = ((problem.id, gold_problem(problem, judge=self.judge)) for problem in self.benchmark.problems)
        self.unverifiable = {problem_id: reason for problem_id, reason in reasons if reason}

    def find_missing(self) -> None:
        """Look up which problems have no completions yet."""
        self.missing = self.store.missing(self.benchmark.problems)

    def close(self) -> None:
        """Close the store and the judge."""
        self.store.close()
        self.judge.close()

    def sample(self, open_backend: Callable[[], Backend], progress: Progress) -> None:
        """Sample and judge the problems that are missing; the backend is opened only if there are any."""
        total = len(self.benchmark.problems)
        progress(self.benchmark.full_name, total - len(self.missing), total)
        if not self.missing:
            return
        failed: dict[str, str] = {}
        for judged in self._judged_groups(open_backend(), progress):
            if judged.group.error:
                failed[judged.group.problem.id] = judged.group.error
                continue
            self.store.append(judged)
            progress(self.benchmark.full_name, 1, total)
        if failed:
            problem_id, error = next(iter(failed.items()))
            raise DistillError(
                f"{len(failed)} of {total} problems of '{self.benchmark.full_name}' failed, '{problem_id}': {error}",
                hint="the others are safe: run the same command again",
            )
        self.find_missing()
        if self.missing:
            raise DistillError(
                f"the backend returned no group for {len(self.missing)} of {total} problems, "
                f"'{self.missing[0].id}' among them",
                hint="a backend answers every problem; where it has nothing, by a group without completions",
            )

    def _prompt(self, problem: Problem, backend: Backend) -> Prompt:
        return build_prompt(problem, self.benchmark.prompt, backend.tokenizer, self.examples.before(problem))

    def _judged_groups(self, backend: Backend, progress: Progress) -> Iterator[JudgedGroup]:
        tokens = f"{self.benchmark.full_name} tokens"
        cpu, wall = time.process_time(), time.perf_counter()
        prompts = ((item, self._prompt(item, backend)) for item in self.missing)
        for group in backend.sample(prompts, lambda num_tokens: progress(tokens, num_tokens, None)):
            verdicts = self.judge.judge_group(group)
            cpu_before, wall_before = cpu, wall
            cpu, wall = time.process_time(), time.perf_counter()
            yield JudgedGroup(group, verdicts, cpu - cpu_before, wall - wall_before)

    def report(self) -> Report:
        """Measure what is stored, and write the report where there is a folder."""
        judged = (self.store.read(problem.id) for problem in self.benchmark.problems)
        report = build_report(
            self.subject, self.benchmark, judged, self.settings, evaluation_versions(self.judge), self.rules, self.judge
        )
        report = replace(report, unverifiable=self.unverifiable)
        if self.folder is not None:
            write_report(report, self.folder / REPORT_FILE)
            write_results([report], self.folder)
        return report


def _open_backend(config: EvalConfig, model: str) -> Backend:
    return open_backend(config.teacher(model), config.sampling, RecordedConfig(), config.seed, inline_entropies=False)


def _settings(
    config: EvalConfig, subject: Subject, benchmark: Benchmark, verifier_versions: Mapping[str, str]
) -> dict[str, Any]:
    """Everything that changes an outcome, in JSON values; ``limit`` does not, so it can be raised later."""
    return {
        "model": subject.model,
        "model_files": subject.digest,
        "backend": config.backend,
        "device": config.device,
        "dtype": config.dtype,
        "seed": config.seed,
        "sampling": config.sampling.model_dump(mode="json"),
        **_serving_settings(config),
        "benchmark": benchmark.full_name,
        "commit": benchmark.commit,
        "prompt": benchmark.prompt.model_dump(mode="json", exclude_none=True),
        "verifier": {
            **benchmark.verifier.model_dump(mode="json", exclude=set(WITHOUT_EFFECT)),
            "versions": dict(verifier_versions),
        },
    }


def _serving_settings(config: EvalConfig) -> dict[str, Any]:
    """What a server or an engine is asked for; where it stands and how fast it is play no part."""
    serving = config.serving
    if config.backend == "server":
        files = model_fingerprint(serving.tokenizer) if serving.tokenizer else ""
        return {"serving": {"tokenizer": serving.tokenizer, "tokenizer_files": files, "extra_body": serving.extra_body}}
    if config.backend == "vllm":
        options = {"max_model_len": serving.max_model_len, "engine_options": serving.effective_engine_options}
        return {"serving": options}
    return {}
