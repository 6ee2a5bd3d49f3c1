"""Processes that are killed, stopped, and starved of disk or server: nothing finished is lost, nothing bought twice.

``benchmarks/chaos.py`` does the same many times over, at random moments.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from distill.config import CurateConfig
from distill.curate.pipeline import curate_dataset
from distill.errors import DistillError
from distill.recipe import load_config
from tests.chaos import Trial, asked, check_session, kill, look, numbered_problems, wait
from tests.curate_parts import data_bytes, recorded_config, write_jsonl
from tests.replay_model import Said
from tests.replay_server import Options, ReplayServer
from tests.tiny import save_tiny

pytestmark = pytest.mark.slow

IN_FLIGHT = 2
NUM_PROBLEMS = 40
REPOSITORY = Path(__file__).parents[1]


def server_trial(folder, server, number=NUM_PROBLEMS, **sets):
    """A run of problems against a server, groups of two."""
    recipe = {
        "source.name": numbered_problems(folder, number),
        "teacher.backend": "server",
        "teacher.model": "replay",
        "teacher.base_urls": server.url,
        "teacher.groups_in_flight": IN_FLIGHT,
        "sampling.num_completions": 2,
        "max_error_rate": 0.5,
        **sets,
    }
    return Trial(folder / "problems.jsonl", folder / "run", recipe)


def curate_here(trial, **options):
    """The same in this process, which has everything loaded already."""
    config = load_config(CurateConfig, "curate", sets=[f"{name}={value}" for name, value in trial.sets.items()])
    return curate_dataset(config, trial.out, **options)


def whole(trial):
    """The same run, without any interruption, in another folder."""
    other = replace(trial, out=trial.out.with_name("whole"))
    curate_here(other)
    return other


def short(_, seed):
    """A completion so short that many would wait in a file's buffer for being written."""
    return Said(f"\\boxed{{{seed % 7}}}")


def test_kills_cost_what_is_in_flight_and_faults_cost_no_problem_without_a_reason(tmp_path):
    faults = Options(latency_seconds=0.02, tail=1.0, failing=0.05, torn=0.03, overflowing=0.1)
    chance = Random(0)
    with ReplayServer(faults, short) as server:
        trial = server_trial(tmp_path, server)
        repeated = 0
        for _ in range(3):
            before = look(trial, server)
            wanted = server.stats.requests + chance.randrange(12, 15)
            assert kill(trial, lambda wanted=wanted: server.stats.requests >= wanted)
            repeated += check_session(before, trial, server, IN_FLIGHT)
        before = look(trial, server)
        curate_here(trial)
        check_session(before, trial, server, in_flight=0)
        told = trial.dataset()
        counts = asked(server)
        assert trial.bytes() == whole(trial).bytes()
    reasons = {**dict(zip(told["id"], told["drop_reason"], strict=True)), **trial.errors()}
    assert sorted(reasons, key=int) == [str(index) for index in range(NUM_PROBLEMS)]
    assert len(told["id"]) == len(set(told["id"]))
    empty = {each for each, texts in zip(told["id"], told["completions"], strict=True) if not texts}
    assert empty == {each for each, reason in reasons.items() if reason == "prompt_too_long"}
    assert empty
    # a whole group is two completions, and a group that was in flight at a kill is asked for once more
    assert sum(counts.values()) == 2 * (NUM_PROBLEMS - len(empty) - len(trial.errors()) + repeated)


# What is killed at a moment of its own choosing: the command's own function, with a progress that ends the process.
KILLS_ITSELF = """
import os, signal, sys
from pathlib import Path
from distill.config import CurateConfig
from distill.curate import join
from distill.curate.pipeline import curate_dataset
from tests.test_curate_chaos import retire_and_die

stage, number = sys.argv[3], int(sys.argv[4])
if stage == "replacing":
    join.replace_folder = retire_and_die

def progress(name, advance, total):
    global number
    if name == stage and advance:
        number -= 1
        if not number:
            os.kill(os.getpid(), signal.SIGKILL)

curate_dataset(CurateConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2]), progress=progress)
"""


def retire_and_die(new, old):
    """What ``replace_folder`` does first, and then nothing more."""
    if old.exists():
        old.rename(old.with_name(old.name + ".old"))
    signal.raise_signal(signal.SIGKILL)


def kill_itself(config, out, stage, number):
    command = [sys.executable, "-c", KILLS_ITSELF, config.model_dump_json(), str(out), stage, str(number)]
    process = subprocess.run(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr


def many_recorded(folder, number):
    rows = [{"id": f"p{index}", "completions": ["\\boxed{2}"], "num_tokens": [9]} for index in range(number)]
    problems = [{"id": row["id"], "question": f"1 + 1, as in item {row['id']}?", "answer": "2"} for row in rows]
    config = recorded_config(folder)
    write_jsonl(folder / "problems.jsonl", problems)
    write_jsonl(folder / "completions.jsonl", rows)
    return config


@pytest.mark.parametrize(("stage", "number"), [("dataset", 2), ("replacing", 1)])
def test_a_kill_while_the_dataset_is_written_leaves_none_or_a_whole_one(tmp_path, stage, number):
    config = many_recorded(tmp_path, 150)  # three batches of a join
    smaller = config.model_copy(update={"source": config.source.model_copy(update={"limit": 20})})
    curate_dataset(smaller, tmp_path / "run")
    before = data_bytes(tmp_path / "run")
    kill_itself(config, tmp_path / "run", stage, number)
    assert data_bytes(tmp_path / "run") == (before if stage == "dataset" else [])
    curate_dataset(config, tmp_path / "run")
    curate_dataset(config, tmp_path / "whole")
    assert data_bytes(tmp_path / "run") == data_bytes(tmp_path / "whole")
    assert not [path for path in (tmp_path / "run").iterdir() if path.suffix in (".tmp", ".old")]


def test_a_kill_while_entropies_are_measured_costs_only_what_was_not_yet_measured(tmp_path):
    config = load_config(
        CurateConfig,
        "curate",
        sets=[
            "source.name=arithmetic",
            "source.limit=12",
            f"teacher.model={save_tiny(tmp_path / 'teacher')}",
            "teacher.device=cpu",
            "sampling.num_completions=2",
            "sampling.max_new_tokens=12",
            "entropies.mode=prefill",
            "filters=[]",
        ],
    )
    kill_itself(config, tmp_path / "run", "entropies", 5)
    run = Trial(tmp_path, tmp_path / "run", {})
    safe = run.stored("entropies")
    measured = []
    curate_dataset(config, tmp_path / "run", progress=lambda *call: measured.append(call))
    counts = [advance for stage, advance, _ in measured if stage == "entropies"]
    assert counts == [len(safe)] + [1] * (12 - len(safe))
    assert 5 <= len(safe) < 12
    assert run.stored("entropies") == run.stored() == Counter(run.dataset()["id"])


def test_a_stop_lets_the_requests_in_flight_finish(tmp_path):
    with ReplayServer() as server:
        server.holding = "item"
        trial = server_trial(tmp_path, server)
        with trial.started() as process:
            server.wait_until(lambda stats: stats.in_flight == IN_FLIGHT)
            process.send_signal(signal.SIGTERM)
            wait(process, lambda: "stopping" in trial.said)
            server.release()
            assert process.wait(60) == 1
        assert set(server.stats.answers) == {"200"}
        assert len(trial.stored()) == server.stats.requests
        assert server.stats.requests <= 2 * IN_FLIGHT
    assert f"{server.stats.requests} of {NUM_PROBLEMS} groups are safe" in trial.said
    assert trial.stored("scores") == trial.stored()
    assert last_event(trial)["state"] == "stopped"


def test_a_second_signal_ends_it_at_once(tmp_path):
    with ReplayServer() as server:
        server.holding = "item"
        trial = server_trial(tmp_path, server)
        with trial.started() as process:
            server.wait_until(lambda stats: stats.in_flight == IN_FLIGHT)
            process.send_signal(signal.SIGTERM)
            wait(process, lambda: "stopping" in trial.said)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 1  # nothing is ever let go
        server.wait_until(lambda stats: stats.in_flight == 0)
        assert server.stats.answers == {"gone": IN_FLIGHT}
    assert f"0 of {NUM_PROBLEMS} groups are safe" in trial.said
    assert "Traceback" not in trial.said


def test_a_full_disk_ends_the_run_with_a_line_that_names_the_folder(tmp_path):
    def with_small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    with ReplayServer() as server:
        trial = server_trial(tmp_path, server)
        assert trial.finish(preexec_fn=with_small_files) == 1
        assert f"error: '{trial.out}': file too large" in trial.said
        assert "what was finished is kept" in trial.said
        assert "Traceback" not in trial.said
        assert check_goes_on(trial, server)


def test_a_disk_without_room_is_refilled_and_the_run_goes_on(tmp_path):
    with ReplayServer() as server, small_disk(tmp_path / "disk", "200k") as inside:
        trial = replace(server_trial(tmp_path, server), out=tmp_path / "disk" / "run")
        said = inside(trial)
        assert f"error: '{trial.out}': no space left on device" in said
        begun = asked(server)
        said = inside(trial, "mount -o remount,size=64m .")
        assert f"{NUM_PROBLEMS} groups" in said
        again = asked(server) - begun
        # what was stored before the disk was full is not asked for again
        assert len(again) <= NUM_PROBLEMS - len(begun) + 2 * IN_FLIGHT
        said = inside(trial, "mount -o remount,ro .")
        assert f"error: '{trial.out}/.lock': read-only file system" in said
        assert "Traceback" not in said


@contextmanager
def small_disk(folder, size):
    """Runs trials one after the other in a file system of their own, of this size; skips where that is not allowed."""
    folder.mkdir()
    shell = ["unshare", "--map-root-user", "--mount", "sh"]
    mount = f"mount -t tmpfs -o size={size} tmpfs {folder} && cd {folder} && echo ready"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(shell, text=True, **pipes) as process:
        process.stdin.write(mount + "\n")
        process.stdin.flush()
        if process.stdout.readline() != "ready\n":
            pytest.skip("no file system can be mounted here")

        def inside(trial, first="true"):
            command = " ".join(f"'{part}'" for part in trial.command)
            process.stdin.write(f"{first}\n cd '{REPOSITORY}'; {command} 2>&1; cd {folder}; echo; echo done\n")
            process.stdin.flush()
            return "".join(iter(process.stdout.readline, "done\n"))

        yield inside
        process.stdin.close()


def test_a_vanished_server_ends_the_run_after_the_patience_and_its_return_finishes_it(tmp_path):
    server = ReplayServer(Options(latency_seconds=0.01))
    with server:
        trial = server_trial(tmp_path, server, **{"teacher.patience_seconds": 0.5})
        expected = whole(trial).bytes()
        finished = []

        def vanish(stage, advance, total):
            if stage == "sampling" and advance:
                finished.append(total)
                if len(finished) == 10:
                    server.stop()

        with pytest.raises(DistillError, match=r"has not answered for 0\.5 s: nothing listens there") as caught:
            curate_here(trial, progress=vanish)
        assert "finished groups are kept" in caught.value.hint
    assert last_event(trial)["state"] == str(caught.value)
    before = trial.stored()
    assert 9 <= len(before) < NUM_PROBLEMS
    with ReplayServer(port=server.port) as back:
        curate_here(trial)
        assert not asked(back).keys() & before.keys()
    assert trial.bytes() == expected


def check_goes_on(trial, server):
    """A run that was ended early goes on to the dataset of an uninterrupted one, and buys nothing twice."""
    before = look(trial, server)
    assert len(before.stored) < NUM_PROBLEMS
    curate_here(trial)
    check_session(before, trial, server, in_flight=0)
    return trial.bytes() == whole(trial).bytes()


def last_event(trial):
    return json.loads((trial.out / "events.jsonl").read_text().splitlines()[-1])
