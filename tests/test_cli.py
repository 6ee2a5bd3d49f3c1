"""The commands as a person runs them: what they print where, and what wrong input is told."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from distill.__main__ import main
from distill.registry import REGISTRY


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]
SMALL = ("--set", "sampling.num_completions=4", "--set", "sampling.max_new_tokens=96")


@pytest.fixture
def distill(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process and give back what it printed."""
    monkeypatch.setenv("COLUMNS", "200")  # so that no message is wrapped

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["distill", *map(str, arguments)])
        code: int | str | None = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
        captured = capfd.readouterr()
        return Result(int(code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a curated dataset and a trained student, made once by the real commands."""
    folder = tmp_path_factory.mktemp("journey")
    commands = (
        ["curate", "arithmetic", "--limit", "8", "--out", folder / "groups", *SMALL],
        ["train", folder / "groups", "--method", "advdistill", "--out", folder / "student", "--set", "epochs=1"],
    )
    for command in commands:
        subprocess.run([sys.executable, "-m", "distill", *map(str, command)], check=True, capture_output=True)
    return folder


def assert_user_error(result: Result, *words: str) -> None:
    """The command ended as wrong input should: status 1, one error line with these words, a hint, no traceback.

    Lines of progress may come before it.
    """
    assert result.code == 1, result
    assert "Traceback" not in result.err
    lines = result.err.strip().splitlines()
    while lines and re.match(r"[a-z ]+: [\d,]+/[\d,]+ ", lines[0]):
        del lines[0]
    error, *rest = lines
    assert error.startswith("error: "), result.err
    assert any(line.startswith("hint: ") for line in rest), result.err
    for word in words:
        assert word in result.err, f"'{word}' is not in: {result.err}"
    assert result.out == ""


def test_curating_prints_the_dataset_on_stdout_and_the_rest_on_stderr(distill: Run, journey: Path) -> None:
    result = distill("curate", "arithmetic", "--limit", 8, "--out", journey / "groups", *SMALL)
    assert result.code == 0
    assert result.out.strip() == str(journey / "groups" / "dataset")
    assert "8 groups" in result.err


def test_inspect_shows_the_distributions(distill: Run, journey: Path) -> None:
    result = distill("inspect", journey / "groups")
    assert result.code == 0
    for word in ("8 groups", "correct", "solved", "4/4", "reward", "advantage", "How sure was the teacher?"):
        assert word in result.out


def test_inspect_gives_machines_json(distill: Run, journey: Path) -> None:
    stats = json.loads(distill("inspect", journey / "groups", "--json").out)
    assert (stats["groups"], stats["completions"]) == (8, 32)
    assert sum(stats["outcomes"].values()) == 32


def test_inspect_shows_one_group_in_full(distill: Run, journey: Path) -> None:
    result = distill("inspect", journey / "groups", "--group", "arithmetic/train/00003")
    assert result.code == 0
    for index in range(4):
        assert f"#{index} " in result.out
    assert "gold" in result.out


def test_inspect_of_an_unknown_group_names_a_near_one(distill: Run, journey: Path) -> None:
    assert_user_error(distill("inspect", journey / "groups", "--group", "arithmetic/train/0003"), "did you mean")


def test_scoring_again_changes_rewards_and_samples_nothing(distill: Run, journey: Path, tmp_path: Path) -> None:
    def rewards() -> object:
        return json.loads(distill("inspect", journey / "groups", "--json").out)["rewards"]

    before, completions = rewards(), sorted((journey / "groups" / "completions").rglob("*.parquet"))
    stamps = [path.stat().st_mtime_ns for path in completions]
    assert distill("score", journey / "groups", "--set", "rewards.parts.format.weight=5").code == 0
    assert rewards() != before
    assert [path.stat().st_mtime_ns for path in completions] == stamps
    assert distill("score", journey / "groups", "--set", "rewards.parts.format.weight=1").code == 0
    assert rewards() == before


def test_eval_and_compare_pair_two_models(distill: Run, journey: Path, tmp_path: Path) -> None:
    for name, model in (("base", "tiny-student"), ("trained", journey / "student")):
        result = distill("eval", model, "-b", "arithmetic:ood", "--limit", 6, "--out", tmp_path / name)
        assert result.code == 0, result.err
        assert "arithmetic:ood" in result.out
    result = distill("compare", tmp_path / "base", tmp_path / "trained")
    assert result.code == 0
    assert "advdistill" in result.out
    rows = json.loads(distill("compare", tmp_path / "base", tmp_path / "trained", "--json").out)["rows"]
    assert [row["cells"][0]["num_problems"] for row in rows] == [6, 6]


def test_a_dry_run_shows_the_prompt_and_makes_nothing(distill: Run, tmp_path: Path) -> None:
    result = distill("curate", "arithmetic", "--limit", 3, "--dry-run", "--out", tmp_path / "run")
    assert result.code == 0
    assert "<|im_start|>user" in result.out
    assert not (tmp_path / "run").exists()


def test_the_printed_config_is_a_recipe_that_gives_itself(distill: Run, tmp_path: Path) -> None:
    first = distill("curate", "arithmetic", "--limit", 3, "--seed", 4, "--print-config").out
    (tmp_path / "recipe.yaml").write_text(first, encoding="utf-8")
    assert distill("curate", "arithmetic", "--recipe", tmp_path / "recipe.yaml", "--print-config").out == first


@pytest.mark.parametrize("kind", ["sources", "benchmarks", *REGISTRY])
def test_every_kind_can_be_listed(distill: Run, kind: str) -> None:
    assert distill("list", kind).code == 0
    rows = json.loads(distill("list", kind, "--json").out)
    assert all(row["name"] for row in rows)
    assert len(rows) >= 1


def test_a_wrong_kind_is_told_the_near_one(distill: Run) -> None:
    assert_user_error(distill("list", "verifier"), "did you mean 'verifiers'?")
    assert_user_error(distill("list"), "one of sources, benchmarks")


def test_the_doctor_finds_this_machine_well(distill: Run) -> None:
    result = distill("doctor", "--json")
    checks = {check["name"]: check["status"] for check in json.loads(result.out)}
    assert result.code == 0
    assert checks["verifier worker"] == checks["tiny models"] == "ok"


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


GOOD = {"question": "What is 1 + 1?", "answer": "2", "completions": ["\\boxed{2}", "\\boxed{3}"], "num_tokens": [3, 3]}


def test_an_unknown_source_is_told_what_a_source_can_be(distill: Run, tmp_path: Path) -> None:
    assert_user_error(distill("curate", "gsm8", "--out", tmp_path / "run"), "gsm8k")


def test_a_wrongly_encoded_file_is_named_with_its_line(distill: Run, tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"question": "caf\xe9", "answer": "1"}\n')
    assert_user_error(distill("curate", path, "--out", tmp_path / "run"), "problems.jsonl", "2")


def test_a_missing_column_is_told_the_found_ones(distill: Run, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "problems.jsonl", {"text": "What is 1 + 1?", "answer": "2"})
    assert_user_error(distill("curate", path, "--out", tmp_path / "run"), "text", "--set source.columns.question=")


def test_recorded_completions_without_any_token_count_stop_at_the_start(distill: Run, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", {key: GOOD[key] for key in ("question", "answer", "completions")})
    assert_user_error(distill("curate", path, "--completions", path, "--out", tmp_path / "run"), "--tokenizer")


def test_a_folder_that_holds_something_else_is_left_alone(distill: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x", encoding="utf-8")
    path = jsonl(tmp_path / "rows.jsonl", GOOD)
    assert_user_error(distill("curate", path, "--completions", path, "--out", tmp_path / "mine"), "thesis.tex", "--out")
    assert [entry.name for entry in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_another_run_in_the_folder_is_told_by_its_differing_key(distill: Run, journey: Path) -> None:
    result = distill("curate", "arithmetic", "--limit", 8, "--out", journey / "groups", *SMALL, "--seed", 9)
    assert_user_error(result, "seed", "--out")


def test_a_model_folder_without_tokenizer_is_told_so(distill: Run, journey: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "qwen2"}', encoding="utf-8")
    assert_user_error(
        distill("train", journey / "groups", "--model", tmp_path / "model", "--out", tmp_path / "run"), "tokenizer"
    )


def test_a_tokenizer_without_chat_template_is_told_the_plain_format(
    distill: Run, journey: Path, tmp_path: Path
) -> None:
    from distill.models import load_model, load_tokenizer

    tokenizer = load_tokenizer("tiny-student")
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "model")
    load_model("tiny-student").save_pretrained(tmp_path / "model")
    distill("--version")  # takes away what transformers printed while it saved
    result = distill("eval", tmp_path / "model", "-b", "arithmetic", "--limit", 2, "--out", tmp_path / "eval")
    assert_user_error(result, "--set prompt.format=plain")


def test_a_dataset_of_another_schema_version_is_told_so(distill: Run, journey: Path, tmp_path: Path) -> None:
    import datasets

    old = datasets.load_from_disk(journey / "groups" / "dataset").remove_columns("schema_version")
    old.add_column("schema_version", [0] * len(old)).save_to_disk(tmp_path / "old")
    distill("--version")  # takes away what datasets printed while it saved
    assert_user_error(distill("inspect", tmp_path / "old"), "schema version 0")
    assert_user_error(distill("train", tmp_path / "old", "--out", tmp_path / "run"), "schema version 0")


def test_bad_rows_are_judged_or_listed_and_never_stop_a_run(distill: Run, tmp_path: Path) -> None:
    rows = [
        GOOD,
        GOOD | {"question": "What is 2 + 2?", "answer": "4", "completions": ["", "\\boxed{4}"]},
        GOOD | {"question": "What is 3 + 3?", "completions": ["a" * 100_000, "{" * 100_000]},
        GOOD | {"question": "What is 4 + 4?", "answer": "\\frac{1}{"},
        GOOD | {"question": ""},
    ]
    path = jsonl(tmp_path / "rows.jsonl", *rows)
    result = distill("curate", path, "--completions", path, "--out", tmp_path / "run", "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert report["stats"]["groups"] + sum(report["rejected"].values()) == len(rows)
    assert report["stats"]["outcomes"]["no_answer"] == 3
    assert report["stats"]["outcomes"]["correct"] == 2
    assert report["stats"]["dropped"] == {"no_correct": 1}


@pytest.mark.parametrize(("stop", "times"), [(signal.SIGTERM, 1), (signal.SIGINT, 2)])
@pytest.mark.slow
def test_an_interrupted_run_finishes_what_is_in_flight_and_says_how_to_go_on(
    tmp_path: Path, stop: signal.Signals, times: int
) -> None:
    command = [
        sys.executable,
        "-m",
        "distill",
        "curate",
        "arithmetic",
        "--limit",
        "2000",
        "--out",
        str(tmp_path / "run"),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        log = tmp_path / "run" / "completions" / "00000-of-00001" / "wal.jsonl"
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and not (log.exists() and log.stat().st_size):
            os.sched_yield()
        process.send_signal(stop)
        said = process.stderr.readline()
        while "stopping" not in said:
            said = process.stderr.readline()
        if times == 2:
            process.send_signal(stop)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "once more stops at once" in said
    assert "interrupted" in err
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert out == ""
    parts = list(log.parent.glob("part-*.parquet"))
    if times == 1:  # what was in flight has become a part
        assert parts
        assert not log.stat().st_size
    else:
        assert log.stat().st_size or parts


def test_the_tiny_teacher_is_no_teacher_of_other_problems(distill: Run, tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text('{"question": "What is 2+3?", "answer": "#### 5"}\n', "utf-8")
    there = ("--dry-run", "--limit", 1, "--out", tmp_path / "run")
    assert "--teacher names another" in distill("curate", "gsm8k", "--set", f"source.path={problems}", *there).err
    assert "--teacher names another" not in distill("curate", "arithmetic", *there).err


def test_the_tiny_student_is_no_student_of_another_teacher(distill: Run, journey: Path, tmp_path: Path) -> None:
    note, dataset = "--model names another", tmp_path / "dataset"
    assert note not in distill("train", journey / "groups", "--dry-run", "--out", tmp_path / "run").err
    shutil.copytree(journey / "groups" / "dataset", dataset)
    manifest = json.loads((dataset / "manifest.json").read_text("utf-8"))
    (dataset / "manifest.json").write_text(json.dumps(manifest | {"teacher": "Qwen/Qwen2.5-7B"}), "utf-8")
    assert note in distill("train", dataset, "--dry-run", "--out", tmp_path / "run").err
