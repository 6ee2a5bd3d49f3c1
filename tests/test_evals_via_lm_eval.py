"""Log-likelihood tasks that lm-evaluation-harness runs: its results in our report."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from distill.cli import app
from distill.config import EvalConfig
from distill.errors import DistillError
from distill.evals.chance import accuracy_interval
from distill.evals.compare import compare_reports
from distill.evals.report import Report, read_report
from distill.evals.run import evaluate
from distill.models import load_model, load_tokenizer

needs_lm_eval = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed (extra 'lm-eval')")
QUESTIONS = [
    ("What is 2 + 3?", ["4", "5", "nine hundred", "no idea"], 1),
    ("What is 10 + 10?", ["twenty-one", "20", "3", "ten"], 1),
    ("Which is the smallest?", ["7", "12", "1", "300"], 2),
    ("What comes after 8?", ["9", "eighty-eight", "7", "0"], 0),
    ("How many legs has a dog?", ["a hundred", "2", "6", "4"], 3),
]


def write_task(folder: Path, name: str, output_type: str = "multiple_choice") -> Path:
    """A task like ARC-easy, whose rows lie beside it."""
    rows = [{"question": question, "texts": texts, "gold": gold} for question, texts, gold in QUESTIONS]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / f"{name}.yaml"
    lines = [
        f"task: {name}",
        "dataset_path: json",
        f"dataset_kwargs: {{data_files: {{test: '{folder / name}.jsonl'}}}}",
        f"output_type: {output_type}",
        "test_split: test",
        'doc_to_text: "Question: {{question}}\\nAnswer:"',
        'doc_to_target: "{{gold}}"',
        *(['doc_to_choice: "{{texts}}"'] if output_type == "multiple_choice" else []),
        "metric_list: [{metric: acc}, {metric: acc_norm}]" if output_type == "multiple_choice" else "",
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def config(*tasks: object, **changes: object) -> EvalConfig:
    values = {"model": "tiny-student", "benchmarks": tuple(map(str, tasks)), "via": "lm-eval", "device": "cpu"}
    return EvalConfig.model_validate({**values, **changes})


def likelihoods() -> list[list[float]]:
    """Of every option of every question, from one pass over prompt and option each."""
    model: Any = load_model("tiny-student", dtype="float32", device="cpu")
    tokenizer = load_tokenizer("tiny-student")
    found = []
    for question, texts, _ in QUESTIONS:
        prompt = tokenizer(f"Question: {question}\nAnswer:", add_special_tokens=False)["input_ids"]
        of_question = []
        for text in texts:
            whole = tokenizer(f"Question: {question}\nAnswer: {text}", add_special_tokens=False)["input_ids"]
            assert whole[: len(prompt)] == prompt
            with torch.no_grad():
                logprobs = torch.log_softmax(model(torch.tensor([whole])).logits[0].double(), dim=-1)
            picked = logprobs[len(prompt) - 1 : -1].gather(1, torch.tensor(whole[len(prompt) :])[:, None])
            of_question.append(float(picked.sum()))
        found.append(of_question)
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("task")
    [made] = evaluate(config(write_task(folder, "tiny_arc")), folder / "out")
    assert read_report(folder / "out" / "tiny_arc-log-likelihood" / "report.json") == made
    return made


@needs_lm_eval
def test_accuracies_are_those_of_the_models_own_likelihoods(report: Report) -> None:
    golds = [gold for _, _, gold in QUESTIONS]
    found = likelihoods()
    right = [max(range(4), key=of_one.__getitem__) == gold for of_one, gold in zip(found, golds, strict=True)]
    assert [problem.score == 1 for problem in report.problems] == right
    assert 0 < sum(right) < len(right)
    assert report.accuracy == sum(right) / 5
    assert report.interval == accuracy_interval([float(flag) for flag in right])
    by_length = [
        max(range(4), key=lambda place: of_one[place] / len(texts[place])) == gold
        for of_one, (_, texts, gold) in zip(found, QUESTIONS, strict=True)
    ]
    normalised = report.rules["acc_norm"]
    assert normalised.accuracy == sum(by_length) / 5
    assert normalised.disagreements == sum(a != b for a, b in zip(right, by_length, strict=True))


@needs_lm_eval
def test_it_is_a_report_like_others_on_a_benchmark_of_its_own(report: Report) -> None:
    assert (report.name, report.num_problems, report.is_by_likelihood) == ("tiny_arc:log-likelihood", 5, True)
    assert report.versions["lm_eval"]
    assert report.settings["examples"] == {"count": 0}
    assert compare_reports([report]).benchmarks == ("tiny_arc:log-likelihood",)


@needs_lm_eval
def test_several_tasks_are_several_reports_and_the_command_shows_them(tmp_path: Path) -> None:
    tasks = [str(write_task(tmp_path, name)) for name in ("one", "two")]
    options = ["--via", "lm-eval", "--limit", "3", "--out", str(tmp_path / "out"), "--set", "device=cpu"]
    done = CliRunner().invoke(app, ["eval", "tiny-student", "-b", tasks[0], "-b", tasks[1], *options])
    assert done.exit_code == 0, done.output
    for words in ("one:log-likelihood", "two:log-likelihood", "by 'acc_norm'"):
        assert words in done.output
    assert "well-formed" not in done.output
    assert read_report(tmp_path / "out" / "two-log-likelihood" / "report.json").num_problems == 3


@needs_lm_eval
@pytest.mark.parametrize(
    ("task", "complaint"),
    [
        ("missing.yaml", "there is no task file"),
        ("generated", r"asks for text \(generate_until\)"),
        ("lost", "the data of task '.*' cannot be read"),
    ],
)
def test_what_cannot_be_run_is_said_before_the_model_is_loaded(tmp_path: Path, task: str, complaint: str) -> None:
    path = write_task(tmp_path, task, "generate_until") if task == "generated" else tmp_path / task
    if task == "lost":
        path = write_task(tmp_path, task)
        path.with_suffix(".jsonl").unlink()
    with pytest.raises(DistillError, match=complaint):
        evaluate(config(path, model="there/is-no-such-model"))


def test_without_lm_eval_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "lm_eval.models", raising=False)
    monkeypatch.delitem(sys.modules, "lm_eval.models.huggingface", raising=False)
    with pytest.raises(DistillError, match="needs lm-evaluation-harness, which is not installed") as raised:
        evaluate(config("arc_easy"))
    assert "distill-reasoning[lm-eval]" in raised.value.hint


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"benchmarks": ()}, "there is no task"), ({"backend": "vllm"}, "runs on transformers, not on 'vllm'")],
)
def test_what_does_not_go_with_it_is_a_users_error(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(DistillError, match=complaint):
        evaluate(config("arc_easy", **changes))
