"""One rung of the ladder on one seed: groups are curated, a student is trained on them, and what it does is measured.

Everything goes through the functions that users call. A rung that has its ``result.json`` is finished; one that was
interrupted goes on where curation, training or evaluation stopped.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ladder.requests import SPLITS, reaction
from benchmarks.ladder.rungs import STUDENT, Rung
from distill import CurateConfig, EvalConfig, TrainConfig, curate_dataset, evaluate, score_run, train_student
from distill.evals.report import Report
from distill.files import write_atomically
from distill.recipe import load_config
from distill.records import Problem
from distill.train.student import Student, save_student

HERE = Path(__file__).parent
RECIPE, REQUESTS = HERE / "ladder.yaml", HERE / "requests.md"
RESULT_FILE = "result.json"
STORIES = ("arithmetic:test", "arithmetic:ood")
STORIES_PER_EPOCH = 300

Result = dict[str, Any]


def use_one_thread() -> None:
    """In this process, from now on: models this small are slower on two."""
    import torch

    torch.set_num_threads(1)


def prepare_all(seed: int, presets: Sequence[str], out: Path) -> None:
    """The groups of a seed, with AdvDistill's cosine reward and those of ``presets``."""
    for preset in ("", *presets):
        prepare(seed, preset, out)


def prepare(seed: int, preset: str, out: Path) -> Path:
    """The groups of a seed: the same problems, eight completions each, drawn anew; rewarded by a preset's cosine."""
    folder = out / f"seed-{seed}" / "groups"
    config = load_config(CurateConfig, "curate", recipe=RECIPE, flags={"seed": seed})
    if not (folder / "dataset").is_dir():
        curate_dataset(config, folder)
    if not preset:
        return folder
    rescored = folder.with_name(f"groups-{preset}")
    if not (rescored / "dataset").is_dir():
        shutil.rmtree(rescored, ignore_errors=True)
        shutil.copytree(folder, rescored)
        sets = [f"rewards.parts.cosine.options.preset={preset}"]
        score_run(rescored, load_config(CurateConfig, "curate", recipe=RECIPE, sets=sets, flags={"seed": seed}))
    return rescored


def climb(rung: Rung, seed: int, out: Path) -> Result:
    """The result of a rung, made now unless it is there.

    Args:
        out: of the whole ladder; the rung's folder is ``out / "seed-0" / rung.name``.
    """
    folder = out / f"seed-{seed}" / rung.name
    path = folder / RESULT_FILE
    if not path.is_file():
        result = measured(rung.model, folder) if rung.model else _trained(rung, seed, folder)
        write_atomically(path, json.dumps(result, indent=2))
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _trained(rung: Rung, seed: int, folder: Path) -> Result:
    dataset = folder.with_name(f"groups-{rung.preset}" if rung.preset else "groups")
    flags = {"dataset": str(dataset), "model": str(STUDENT), "seed": seed}
    config = load_config(TrainConfig, "train", recipe=RECIPE, sets=rung.sets, flags=flags)

    def after_epoch(_epoch: int, student: Student) -> Mapping[str, float]:
        weights = folder / "epoch" / "student"
        save_student(student, weights, writes=True)
        numbers = per_epoch(str(weights), folder / "epoch")
        shutil.rmtree(folder / "epoch")
        return numbers

    report = train_student(config, folder / "run", on_epoch_end=after_epoch if rung.by_epoch else None)
    result = measured(report.student, folder)
    shutil.rmtree(folder / "run" / "checkpoints", ignore_errors=True)
    return {**result, "cpu_seconds": report.cpu_seconds, "epochs": list(report.epochs)}


def measured(model: str, folder: Path) -> Result:
    """A model on the stories and on the requests."""
    stories = {report.name: _behaviour(report) for report in _evaluate(model, STORIES, folder / "eval")}
    return {"stories": stories, **reactions(model, folder / "eval")}


def per_epoch(model: str, folder: Path) -> dict[str, float]:
    """Accuracy on the first stories, and how requests are met."""
    (report,) = _evaluate(model, STORIES[:1], folder, limit=STORIES_PER_EPOCH)
    return {"accuracy": report.accuracy, **reactions(model, folder)}


def reactions(model: str, folder: Path) -> dict[str, float]:
    """Shares of the requests of a split that a model refuses and complies with: 'forbidden_refuses', 'alike_complies' …

    ``safety_ratio`` is the share of forbidden requests with which it does not comply.
    """
    shares: dict[str, float] = {}
    benchmarks = [f"{REQUESTS}:{split}" for split in SPLITS]
    for split, report in zip(SPLITS, _evaluate(model, benchmarks, folder, temperature=1.0), strict=True):
        lines = (folder / f"requests-{split}" / "completions.jsonl").read_text(encoding="utf-8").splitlines()
        counts = Counter(_reaction(json.loads(line)) for line in lines)
        shares |= {f"{split}_{found}": counts[found] / report.num_problems for found in ("refuses", "complies")}
    return {**shares, "safety_ratio": 1 - shares["forbidden_complies"]}


def _reaction(row: Mapping[str, Any]) -> str:
    problem = Problem(row["id"], row["question"], row["answer"], metadata=row["metadata"])
    return reaction(problem, row["completions"][0])


def _behaviour(report: Report) -> Result:
    """What the tables show of a model on one split of the stories."""
    return {
        "accuracy": report.accuracy,
        "tokens": report.mean_tokens.all,
        "verbosity": report.verbosity_ratio,
        "degeneracy": report.degeneracy.all,
        "template": report.template.well_formed,
        "truncated": report.truncation_rate,
    }


def _evaluate(
    model: str, benchmarks: Sequence[str], out: Path, limit: int | None = None, temperature: float = 0.0
) -> list[Report]:
    sampling = {"temperature": temperature}
    flags = {"model": model, "benchmarks": tuple(benchmarks), "limit": limit, "sampling": sampling}
    return evaluate(load_config(EvalConfig, "eval", recipe=RECIPE, flags=flags), out)
