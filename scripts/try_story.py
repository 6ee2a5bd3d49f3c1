"""The whole story in the current folder, by an installed distill: from nothing to a dataset and a student on a Hub.

Every command is printed as a person types it, and what it leaves behind is checked with what others read it by: plain
datasets and transformers.

    python scripts/with_local_hub.py PYTHON -P scripts/try_story.py

PYTHON is that of the environment; ``-P`` keeps the repository off its path.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DISTILL = Path(sys.executable).with_name("distill")
DATASET, STUDENT = "me/arithmetic-groups", "me/arithmetic-student"
PROBLEMS, COMPLETIONS = 100, 8
CONFIGS = ("groups", "samples", "sft", "preference", "kto")
SHAPES = (*CONFIGS, "grpo", "sharegpt", "verl")


def run(line: str) -> str:
    """What a command says on stdout; the rest goes to the terminal.

    Raises:
        CalledProcessError: it failed.
    """
    print(f"\n$ distill {line}", flush=True)
    said = subprocess.run([DISTILL, *shlex.split(line)], stdout=subprocess.PIPE, text=True, check=True).stdout
    print("…" if "--json" in line else said, flush=True)
    return said


def expect(what: str, found: object, wanted: object) -> None:
    """Say that something is as it should be, or end here."""
    if found != wanted:
        sys.exit(f"✗ {what}: {found!r}, expected {wanted!r}")
    print(f"✓ {what}: {str(found)[:80]}", flush=True)


def load(path: str, *config: str) -> Any:
    """Rows of a folder or of a dataset on the Hub, by plain datasets."""
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(path, *config, split="train")


def curate() -> dict[str, int]:
    """Groups from the tiny teacher; returns how many rows each shape must have of them."""
    run("doctor tiny-student")
    run("init")
    command = f"curate arithmetic --recipe recipe.yaml --limit {PROBLEMS} --out runs/groups"
    run(f"{command} --dry-run")
    expect("a dry run leaves nothing", Path("runs").exists(), False)
    run(command)
    made = Path("runs/groups/dataset").stat().st_mtime_ns
    expect("the same command again samples nothing", run(command).strip(), "runs/groups/dataset")
    expect("and writes nothing", Path("runs/groups/dataset").stat().st_mtime_ns, made)

    from distill import load_groups

    groups = list(load_groups("runs/groups"))
    expect("completions", sum(len(group.completions) for group, _ in groups), PROBLEMS * COMPLETIONS)
    kept = [scores for _, scores in groups if not scores.drop_reason]
    correct = [[verdict.outcome == "correct" for verdict in scores.verdicts] for scores in kept]
    judged = sum(verdict.outcome != "unverified" for scores in kept for verdict in scores.verdicts)
    pairs = sum(any(found) and not all(found) for found in correct)
    of_completions = {"samples": len(kept) * COMPLETIONS, "kto": judged, "preference": pairs}
    return {shape: of_completions.get(shape, len(kept)) for shape in SHAPES}


def inspect(rows: dict[str, int]) -> None:
    """The page opens without a network and the numbers are those of the groups."""
    run("inspect runs/groups --html groups.html")
    page = Path("groups.html").read_text("utf-8")
    expect("what the page fetches", re.findall(r"""(?:src|href)=["']?(?:https?:)?//[^"' >]*""", page), [])
    expect("the page shows a problem", "arithmetic/train/00000" in page, True)
    numbers = json.loads(run("inspect runs/groups --json"))
    expect("groups of the dataset", numbers["groups"], PROBLEMS)
    expect("groups that were kept", numbers["kept"], rows["groups"])


def export(rows: dict[str, int]) -> None:
    """Every shape, and one of them as JSON Lines."""
    for shape in SHAPES:
        run(f"export runs/groups --to {shape} --out data/{shape}")
        expect(f"rows of '{shape}'", load(f"data/{shape}").num_rows, rows[shape])
    run("export runs/groups --to sft --format jsonl --out data/sft-jsonl")
    expect("JSON Lines hold the same", load("data/sft-jsonl").to_list() == load("data/sft").to_list(), True)


def publish_dataset() -> None:
    """What comes back from the Hub is what was exported, and its card is one that the Hub's own client reads."""
    from huggingface_hub import DatasetCard

    run(f"publish runs/groups {DATASET} --licence apache-2.0 --language en")
    for config in CONFIGS:
        ours, theirs = load(f"data/{config}"), load(DATASET, config)
        expect(f"columns of '{config}' from the Hub", theirs.features == ours.features, True)
        expect(f"rows of '{config}' from the Hub are those of the export", theirs.to_list() == ours.to_list(), True)
    expect("without a config there are the groups", load(DATASET).num_rows, load("data/groups").num_rows)
    card = DatasetCard.load(DATASET)
    expect("licence on the card", card.data.license, "apache-2.0")
    expect("configs on the card", [config["config_name"] for config in card.data.to_dict()["configs"]], list(CONFIGS))


def train_and_evaluate() -> float:
    """The student is better than it was, beyond chance; returns its accuracy."""
    run("train runs/groups --recipe recipe.yaml --method sft --out runs/sft")
    run("eval tiny-student --recipe recipe.yaml --limit 200 --out runs/eval-base")
    run("eval runs/sft --recipe recipe.yaml --limit 200 --out runs/eval-sft")
    run("compare runs/eval-base runs/eval-sft")
    before, after = json.loads(run("compare runs/eval-base runs/eval-sft --html comparison.html --json"))["rows"]
    expect("a page that compares them", Path("comparison.html").is_file(), True)
    base, student = before["cells"][0], after["cells"][0]
    print(f"accuracy {base['accuracy']:.1%} before, {student['accuracy']:.1%} after")
    apart = student["interval"]["low"] > base["interval"]["high"]
    expect("the student is better beyond chance", apart, True)
    return float(student["accuracy"])


def publish_student(accuracy: float) -> None:
    """The student comes back from the Hub, and plain transformers write with it."""
    import torch
    from huggingface_hub import ModelCard
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from distill import verify

    run(f"publish runs/sft {STUDENT} --licence apache-2.0 --eval runs/eval-sft --dataset {DATASET}")
    results = {result.metric_type: result.metric_value for result in ModelCard.load(STUDENT).data.eval_results}
    expect("accuracy on the card", round(results["accuracy"] / 100, 4), accuracy)
    tokenizer, model = (kind.from_pretrained(STUDENT) for kind in (AutoTokenizer, AutoModelForCausalLM))
    ours = AutoModelForCausalLM.from_pretrained("runs/sft/student").state_dict()
    same = all(torch.equal(values, ours[name]) for name, values in model.state_dict().items())
    expect("weights from the Hub are those of the run", same, True)
    solved = 0
    for problem in load("data/grpo").select(range(20)):
        read = tokenizer.apply_chat_template(
            problem["prompt"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        written = model.generate(**read, max_new_tokens=64, do_sample=False)[0, read["input_ids"].shape[1] :]
        text = tokenizer.decode(written, skip_special_tokens=True)
        solved += verify(text, problem["answer"]).outcome == "correct"
    print(f"{text}\n{solved} of 20 solved")
    expect("transformers solve most problems that it learnt from", solved > 10, True)


def main() -> None:
    started = time.monotonic()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows = curate()
    inspect(rows)
    export(rows)
    publish_dataset()
    publish_student(train_and_evaluate())
    print(f"\nthe whole story: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
