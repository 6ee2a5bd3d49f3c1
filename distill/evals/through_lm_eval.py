"""Log-likelihood tasks, run by lm-evaluation-harness on a model that is loaded here.

Such a task asks for no text: of several continuations of a prompt the one counts as the model's answer that it gives
the highest probability ('acc'), or the highest for its length ('acc_norm'). What comes out is a report like every
other; an accuracy by log-likelihood is not comparable with one of completions, so its benchmark has a split of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config import EvalConfig, PromptConfig, VerifierConfig
from distill.errors import DistillError
from distill.evals.benchmarks import Benchmark
from distill.evals.lm_eval import write_results
from distill.evals.report import LM_EVAL, REPORT_FILE, Report, problem_result, tallied_report, write_report
from distill.evals.store import JudgedGroup
from distill.evals.subject import Subject, describe_model
from distill.evals.tally import MAX_EXAMPLES, RuleResult, Tally
from distill.evals.versions import package_versions
from distill.models import load_model, load_tokenizer
from distill.records import Completion, Group, Outcome, Problem, Prompt, Verdict
from distill.registry import did_you_mean
from distill.schema import metadata_json

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

SPLIT = "log-likelihood"
OUTPUT_TYPES = ("multiple_choice", "loglikelihood")
NORMALISED = "acc_norm"
Sample = Mapping[str, Any]


def evaluate_through_lm_eval(config: EvalConfig, out: Path | None) -> list[Report]:
    """Have lm-evaluation-harness run tasks of its own, or task files, on a model: a report for each.

    Args:
        config: ``benchmarks`` names tasks, groups of tasks or task files (YAML).
        out: folder for the reports; None keeps nothing on disk.

    Raises:
        DistillError: lm-evaluation-harness is not installed, there is no such task, it generates text, or its data is
            out of reach.
    """
    _check(config)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of every default that a task leaves to it
    subject = describe_model(config.model)
    tasks = _task_manager(config.benchmarks)
    for name in config.benchmarks:
        _check_task(tasks, name)
    model = _model(config, subject)
    reports = []
    for name in config.benchmarks:
        report = _report(config, subject, name, model, tasks)
        reports.append(report)
        if out is not None:
            folder = out / f"{report.benchmark}-{SPLIT}"
            folder.mkdir(parents=True, exist_ok=True)
            write_report(report, folder / REPORT_FILE)
            write_results([report], folder)
    return reports


def _check(config: EvalConfig) -> None:
    if not config.benchmarks:
        raise DistillError("there is no task to evaluate on", hint="name one with --benchmark, as in 'arc_easy'")
    if config.backend != "hf":
        raise DistillError(
            f"via lm-eval a model runs on transformers, not on '{config.backend}'", hint="leave --backend and --url out"
        )
    try:
        import lm_eval.models.huggingface  # noqa: F401
    except ImportError as error:
        raise DistillError(
            f"'--via lm-eval' needs lm-evaluation-harness, which is not installed ({error})",
            hint="pip install 'distill-reasoning[lm-eval]'",
        ) from None


def _task_manager(names: Sequence[str]) -> TaskManager:
    """What finds tasks; the thousands that come with the harness are only looked through where one is named."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=not all(_is_file(name) for name in names))


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _check_task(tasks: TaskManager, name: str) -> None:
    """Raise where there is no such task, where its data cannot be read, or where it is not about log-likelihoods."""
    import datasets

    if _is_file(name):
        if not Path(name).is_file():
            raise DistillError(f"there is no task file '{name}'", hint="a task of lm-eval's own has no '.yaml'")
    elif name not in tasks.all_tasks:
        raise DistillError(f"lm-eval has no task '{name}'", hint=did_you_mean(name, _near(name, tasks.all_tasks)))
    try:
        found = tasks.load([name])["tasks"].values()
    except (OSError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).partition("\n")[0]
        raise DistillError(
            f"the data of task '{name}' cannot be read: {reason}",
            hint="without network write a task file whose 'data_files' are here: docs/evaluation.md has one",
        ) from None
    for task in found:
        if task.OUTPUT_TYPE not in OUTPUT_TYPES:
            raise DistillError(
                f"task '{task.config.task}' asks for text ({task.OUTPUT_TYPE}), not for log-likelihoods",
                hint="'distill eval MODEL -b CARD' samples text; 'distill eval --from' scores what lm-eval has sampled",
            )


def _near(name: str, known: Sequence[str]) -> list[str]:
    """Of thousands of names those that hold this one, or begin alike."""
    return [other for other in known if name in other or other.startswith(name[:3])] or [
        "'lm-eval ls tasks' lists them"
    ]


def _model(config: EvalConfig, subject: Subject) -> HFLM:
    from lm_eval.models.huggingface import HFLM

    model = load_model(subject.path, dtype=config.dtype, device=config.device)
    return HFLM(pretrained=model, tokenizer=load_tokenizer(subject.path), batch_size=min(config.groups_in_flight, 16))


def _report(config: EvalConfig, subject: Subject, name: str, model: HFLM, tasks: TaskManager) -> Report:
    from lm_eval import simple_evaluate

    cpu, wall = time.process_time(), time.perf_counter()
    shots = config.examples.count or None
    done = simple_evaluate(
        model=model,
        tasks=[name],
        task_manager=tasks,
        num_fewshot=shots,
        limit=config.limit,
        system_instruction=config.prompt.system,
        apply_chat_template=config.prompt.format == "chat",
        bootstrap_iters=0,
        random_seed=config.seed,
        numpy_random_seed=config.seed,
        torch_random_seed=config.seed,
        fewshot_random_seed=config.seed,
    )
    assert done is not None  # only processes of another rank get nothing
    samples: Mapping[str, Sequence[Sample]] = done["samples"]
    label = next(iter(samples)) if _is_file(name) and len(samples) == 1 else Path(name).stem
    benchmark = Benchmark(label, SPLIT, (), (), PromptConfig(), VerifierConfig(), by="task")
    tally, by_length = Tally(benchmark), _NormalisedTally()
    for task, of_task in samples.items():
        for sample in of_task:
            judged = _judged(subject, task, sample)
            tally.add(problem_result(judged), judged)
            by_length.count(judged.group.problem.id, sample)
    tally.cpu_seconds, tally.wall_seconds = time.process_time() - cpu, time.perf_counter() - wall
    settings = {
        "model": subject.model,
        "model_files": subject.digest,
        "backend": LM_EVAL,
        "device": config.device,
        "dtype": config.dtype,
        "seed": config.seed,
        "benchmark": benchmark.full_name,
        "prompt": config.prompt.model_dump(mode="json"),
        "examples": {"count": max(done["n-shot"].get(task, 0) for task in samples)},
        "task_versions": {task: done["versions"].get(task) for task in samples},
    }
    report = tallied_report(subject, benchmark, tally, settings, package_versions("lm_eval"))
    return replace(report, rules=by_length.rules())


def _judged(subject: Subject, task: str, sample: Sample) -> JudgedGroup:
    """One sample as a problem with one completion: the continuation that the model finds likeliest."""
    if "acc" not in sample:
        raise DistillError(
            f"task '{task}' measures {', '.join(sample['metrics'])} and no 'acc'",
            hint="only accuracies can be compared",
        )
    texts = [str(argument[1]) for argument in sample["arguments"]]
    likelihoods = [float(answer[0]) for answer in sample["filtered_resps"]]
    # Of a task with several metrics more requests may follow those of the continuations.
    chosen = texts[max(range(len(texts)), key=likelihoods.__getitem__)].strip()
    outcome = Outcome.CORRECT if sample["acc"] == 1 else Outcome.INCORRECT
    problem = Problem(
        id=f"{task}/{sample['doc_id']:05d}",
        question=str(sample["arguments"][0][0]),
        answer=str(sample["target"]),
        source=task,
        index=sample["doc_id"],
        metadata=metadata_json({"task": task}),
    )
    completion = Completion(chosen, finish_reason="unknown", model=subject.model)
    group = Group(problem, Prompt((), "plain", problem.question), (completion,), subject.model)
    return JudgedGroup(group, (Verdict(outcome, chosen, "likelihood"),))


class _NormalisedTally:
    """What 'acc_norm' says beside 'acc', as a rule of somebody else's."""

    def __init__(self) -> None:
        self._pairs: dict[str, tuple[bool, bool]] = {}

    def count(self, problem_id: str, sample: Sample) -> None:
        if NORMALISED in sample:
            self._pairs[problem_id] = (sample[NORMALISED] == 1, sample["acc"] == 1)

    def rules(self) -> dict[str, RuleResult]:
        if not self._pairs:
            return {}
        differing = [name for name, (normalised, plain) in self._pairs.items() if normalised != plain]
        right = sum(normalised for normalised, _ in self._pairs.values())
        only_rule = sum(self._pairs[name][0] for name in differing)
        examples = tuple(differing[:MAX_EXAMPLES])
        return {NORMALISED: RuleResult(right / len(self._pairs), 0, len(differing), only_rule, examples)}
