"""Commands in rough places: closed pipes, full disks, poor terminals, names and texts made to confuse a screen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.__main__ import main

Command = Callable[..., "subprocess.CompletedProcess[str]"]
FULL = Path("/dev/full")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process."""
    monkeypatch.setenv("COLUMNS", "200")  # so that no message is wrapped

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["distill", *map(str, arguments)])
        code: int | str | None = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
        captured = capfd.readouterr()
        return subprocess.CompletedProcess(sys.argv, int(code or 0), captured.out, captured.err)

    return run


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a process of its own, whose streams are as hostile as ``options`` make them."""
    return subprocess.run(
        [sys.executable, "-m", "distill", *arguments], check=False, stderr=subprocess.PIPE, timeout=60, **options
    )


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def curate_one(command: Command, folder: Path, out: Path, *, problem_id: str = "p", completion: str = "2") -> None:
    """Curate one problem of recorded completions by two models with odd names."""
    problems = write_rows(folder / "problems.jsonl", {"id": problem_id, "question": "1 + 1?", "answer": "2"})
    rows = {"id": problem_id, "completions": [completion, "3"], "num_tokens": [1, 1], "models": ["[red]a", "[/b]"]}
    recorded = write_rows(folder / "completions.jsonl", rows)
    done = command("curate", problems, "--completions", recorded, "--out", out)
    assert (done.returncode, done.stdout.strip()) == (0, str(out / "dataset")), done.stderr


@pytest.mark.parametrize("arguments", [("list", "sources"), ("list", "sources", "--json")])
def test_whoever_reads_only_the_beginning_gets_no_error(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = process(*arguments, stdout=writer)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [("list", "sources"), ("list", "sources", "--json")])
def test_a_full_disk_is_one_line_and_a_hint(arguments: tuple[str, ...]) -> None:
    with FULL.open("wb") as full:
        ended = process(*arguments, stdout=full)
    assert ended.returncode == 1
    error, hint = ended.stderr.decode().splitlines()
    assert error == "error: no space left on device"
    assert "make room" in hint


def test_a_folder_that_the_system_refuses_is_one_line_and_a_hint(command: Command, tmp_path: Path) -> None:
    ended = command("curate", "arithmetic", "--limit", 1, "--out", tmp_path / ("x" * 300))
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert "file name too long" in ended.stderr
    assert "hint: " in ended.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_closed_streams_are_no_error() -> None:
    script = f'exec "{sys.executable}" -m distill list verifiers >&- 2>&-'
    assert subprocess.run(["sh", "-c", script], check=False, timeout=60).returncode == 0


def test_a_terminal_without_unicode_loses_characters_and_json_none() -> None:
    poor = os.environ | {"PYTHONIOENCODING": "ascii"}
    listed = process("list", "sources", stdout=subprocess.PIPE, env=poor)
    assert (listed.returncode, listed.stderr) == (0, b"")
    assert b"arithmetic" in listed.stdout
    rich = process("list", "rewards", "--json", stdout=subprocess.PIPE, env=os.environ | {"PYTHONIOENCODING": "utf-8"})
    same = process("list", "rewards", "--json", stdout=subprocess.PIPE, env=poor)
    assert same.stdout.isascii()
    assert json.loads(same.stdout) == json.loads(rich.stdout)


@pytest.mark.slow
def test_sigterm_ends_a_command_that_was_started_in_the_background_of_a_script(tmp_path: Path) -> None:
    # A shell without job control has its background processes ignore SIGINT. What is in flight may take its time.
    arguments = ["curate", "arithmetic", "--limit", "5000", "--out", str(tmp_path / "run")]
    with subprocess.Popen(
        [sys.executable, "-m", "distill", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # noqa: PLW1509 (no threads here)
    ) as running:
        while running.poll() is None and not (tmp_path / "run" / "problems.parquet").exists():
            os.sched_yield()
        running.terminate()
        try:
            _, err = running.communicate(timeout=90)
        finally:
            running.kill()
    assert running.returncode == 1
    assert err.count("interrupted") == 1
    assert "hint: run the same command again to go on" in err


def test_names_that_look_like_markup_are_shown_as_they_are(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "[bold]run [/]"
    curate_one(command, tmp_path, out, problem_id="[/p] [q]")
    shown = command("inspect", out)
    assert shown.returncode == 0, shown.stderr
    for name in ("[red]a", "[/b]", "[/p] [q]", "--group '[/p] [q]'"):
        assert name in shown.stdout
    recorded = ("--completions", tmp_path / "completions.jsonl", "--teacher", "[/t]", "--dry-run")
    plan = command("curate", tmp_path / "problems.jsonl", *recorded)
    assert "[/t] (recorded)" in plan.stdout


def test_completions_cannot_command_the_terminal(command: Command, tmp_path: Path) -> None:
    curate_one(command, tmp_path, tmp_path / "run", completion="\x1b[2J\x1b]0;owned\x07\\boxed{2}\r\x00")
    shown = command("inspect", tmp_path / "run", "--group", "p")
    assert "␛[2J␛]0;owned␇\\boxed{»2«}␍␀" in shown.stdout
    assert not {"\x1b", "\x07", "\r", "\x00"} & set(shown.stdout)


def test_a_dry_run_shows_the_beginning_of_a_very_long_prompt(command: Command, tmp_path: Path) -> None:
    problems = write_rows(tmp_path / "problems.jsonl", {"id": "p", "question": "word " * 100_000, "answer": "2"})
    recorded = write_rows(tmp_path / "completions.jsonl", {"id": "p", "completions": ["2"], "num_tokens": [1]})
    dry = ("curate", problems, "--completions", recorded, "--dry-run")
    shown = command(*dry)
    assert len(shown.stdout) < 10_000
    assert "characters more" in shown.stdout
    assert len(json.loads(command(*dry, "--json").stdout)["first_prompt"]) > 500_000 - 10


def test_a_prompt_beyond_the_models_context_draws_no_warning_of_the_tokenizer(command: Command, tmp_path: Path) -> None:
    problems = write_rows(tmp_path / "problems.jsonl", {"question": "word " * 2_000, "answer": "2"})
    shown = command("curate", problems, "--dry-run")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "prompt tokens" in shown.stdout


def test_completions_that_join_no_problem_are_told_apart_from_bad_ones(command: Command, tmp_path: Path) -> None:
    problems = write_rows(tmp_path / "problems.jsonl", {"id": "a", "question": "1 + 1?", "answer": "2"})
    recorded = write_rows(tmp_path / "completions.jsonl", {"id": "b", "completions": ["2"], "num_tokens": [1]})
    ended = command("curate", problems, "--completions", recorded, "--out", tmp_path / "run")
    assert "no problem has a completion" in ended.stderr
    assert "recorded.id" in ended.stderr
