"""The memory of verdicts: asked once, kept in a file that many share, and never believed when it is damaged."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distill.errors import DistillError
from distill.verifiers.workers import verdict_cache
from distill.verifiers.workers.verdict_cache import VerdictCache, content_key
from distill.verifiers.workers.verdict_store import Said, VerdictStore

EQUAL: Said = (True, "engine")
KEY, OTHER = b"k" * 32, b"o" * 32


class Asked:
    """Says one thing and counts how often it was asked."""

    def __init__(self, said: Said = EQUAL) -> None:
        self.said = said
        self.times = 0

    def __call__(self) -> Said:
        self.times += 1
        return self.said


def nobody() -> Said:
    raise AssertionError("this should have been remembered")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "verdicts.db"


def test_a_key_covers_all_that_a_reply_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> set[bytes]:
        pairs = [("x", "y"), ("y", "x"), ("xy", ""), ("xy", None), ("", "xy"), ("\ud800", "\0")]
        return {content_key(*pair, options) for pair in pairs for options in ({}, {"strict": True}, {"strict": False})}

    first = keys()
    assert len(first) == 18
    monkeypatch.setattr(verdict_cache, "engine_versions", lambda: (("sympy", "0.0"),))
    second = keys()
    monkeypatch.setattr(verdict_cache, "REVISION", 999)
    assert len(first | second | keys()) == 54


def test_what_was_said_is_asked_once_and_the_least_recently_used_is_forgotten() -> None:
    cache, asked = VerdictCache(max_remembered=2), Asked()
    for key in (KEY, KEY, OTHER, KEY, b"third"):  # the third drives out the one that was used least recently
        assert cache.get(key, asked) == EQUAL
    assert asked.times == 3
    assert cache.get(KEY, nobody) == EQUAL
    cache.get(OTHER, asked)
    assert asked.times == 4


def test_threads_that_ask_the_same_wait_for_one_of_them() -> None:
    cache, asked = VerdictCache(), Asked()
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> Said:
        begun.set()
        go_on.wait()
        return asked()

    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(cache.get, KEY, slowly)
        begun.wait()
        others = [threads.submit(cache.get, KEY, asked) for _ in range(7)]
        assert cache.get(OTHER, Asked((False, "engine"))) == (False, "engine")  # other texts do not wait
        go_on.set()
        assert {first.result(), *(other.result() for other in others)} == {EQUAL}
    assert asked.times == 1


def test_one_who_fails_to_ask_keeps_nobody_from_asking() -> None:
    cache = VerdictCache()

    def interrupted() -> Said:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get(KEY, interrupted)
    assert cache._asking == {}
    assert cache.get(KEY, Asked()) == EQUAL


@pytest.mark.parametrize(
    ("said", "in_memory", "in_file"),
    [
        ((True, "engine"), True, True),
        ((False, "engine"), True, True),
        ((False, "guard:magnitude"), True, True),
        ((None, ""), True, True),
        ((None, "gold_unparsed"), True, True),
        ((None, "answer_unparsed"), True, True),
        ((None, "timeout"), True, False),
        ((None, "memory"), True, False),
        ((None, "engine_error"), True, False),
        ((None, "worker_died"), False, False),
    ],
)
def test_what_says_more_of_the_machine_than_of_the_texts_is_not_kept_for_ever(
    said: Said, in_memory: bool, in_file: bool, path: Path
) -> None:
    cache, asked = VerdictCache(VerdictStore(path)), Asked(said)
    assert [cache.get(KEY, asked), cache.get(KEY, asked)] == [said, said]
    assert asked.times == (1 if in_memory else 2)
    cache.close()
    later, asked = VerdictCache(VerdictStore(path)), Asked(said)
    assert later.get(KEY, asked) == said
    assert asked.times == (0 if in_file else 1)
    later.close()


def test_a_closed_file_opens_again_when_it_is_needed(path: Path) -> None:
    store = VerdictStore(path)
    store.write(KEY, EQUAL)
    store.close()
    store.close()
    assert store.read(KEY) == EQUAL
    assert store.read(OTHER) is None
    store.close()
    assert [file.name for file in path.parent.iterdir()] == ["verdicts.db"]


def _write_many(path: Path, number: int) -> None:
    store = VerdictStore(path)
    for step in range(50):
        store.write(f"{number} {step}".encode(), (step % 2 == 0, "engine"))
        store.write(b"the same", EQUAL)
    store.close()


def test_processes_share_a_file_from_the_moment_it_is_made(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_many, args=(path, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    store = VerdictStore(path)
    for number in range(4):
        assert [store.read(f"{number} {step}".encode()) for step in (0, 49)] == [EQUAL, (False, "engine")]
    store.close()


def test_threads_share_a_store(path: Path) -> None:
    store = VerdictStore(path)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: store.write(str(number).encode(), EQUAL), range(100)))
        assert set(threads.map(lambda number: store.read(str(number).encode()), range(100))) == {EQUAL}
    store.close()


def test_a_forked_process_opens_the_file_for_itself(path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from distill.verifiers.workers.verdict_cache import VerdictCache\n"
        "from distill.verifiers.workers.verdict_store import VerdictStore\n"
        f"cache = VerdictCache(VerdictStore(Path({str(path)!r})))\n"
        "cache.get(b'parent', lambda: (True, 'engine'))\n"
        "cache._lock.acquire(), cache._store._lock.acquire()  # as when another thread is just using them\n"
        "if (child := os.fork()) == 0:\n"
        "    assert cache.get(b'parent', None) == (True, 'engine')  # from the file\n"
        "    cache.get(b'child', lambda: (False, 'engine'))\n"
        "    cache.close()\n"
        "    sys.exit(0)\n"
        "cache._lock.release(), cache._store._lock.release()\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert cache.get(b'child', None) == (False, 'engine')\n"
        "cache.get(b'parent again', lambda: (True, 'engine'))\n"
        "cache.close()\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
    store = VerdictStore(path)
    assert [store.read(key) for key in (b"parent", b"child", b"parent again")] == [EQUAL, (False, "engine"), EQUAL]
    store.close()


def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path) -> None:
    text, database = tmp_path / "recipe.yaml", tmp_path / "other.db"
    text.write_text("curate: {}\n" * 200)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE mine (a INTEGER)")
    connection.close()
    for file in (text, database, tmp_path):
        before = file.read_bytes() if file.is_file() else b""
        with pytest.raises(DistillError, match="cannot be used as a cache of verdicts") as caught:
            VerdictStore(file)
        assert "verifier.cache" in caught.value.hint
        assert "\n" not in str(caught.value)
        assert not file.is_file() or file.read_bytes() == before


def test_a_file_that_lies_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DistillError, match="cannot be used"):
        VerdictStore(tmp_path / "file" / "verdicts.db")


def stored(path: Path, number: int) -> None:
    store = VerdictStore(path)
    for step in range(number):
        store.write(f"{step:032}".encode(), EQUAL)
    store.close()


def test_a_file_that_is_damaged_later_is_set_aside_with_one_warning(path: Path) -> None:
    stored(path, 2000)
    with path.open("r+b") as file:  # every page but the first two is lost
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    store = VerdictStore(path)
    cache, asked = VerdictCache(store), Asked()
    with pytest.warns(RuntimeWarning, match="is set aside") as warned:
        assert [cache.get(f"{step:032}".encode(), asked) for step in range(5)] == [EQUAL] * 5
    assert len(warned) == 1
    assert asked.times == 5
    store.close()


def test_a_flipped_bit_is_no_verdict(path: Path) -> None:
    stored(path, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE verdicts SET equal = 0")
    connection.close()
    store = VerdictStore(path)
    assert store.read(f"{0:032}".encode()) is None
    store.close()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_file_that_cannot_be_written_is_refused(path: Path) -> None:
    stored(path, 1)
    path.chmod(0o400)
    path.parent.chmod(0o500)
    with pytest.raises(DistillError, match="cannot be used"):
        VerdictStore(path)
    path.parent.chmod(0o700)


def test_a_crash_loses_no_file(path: Path, tmp_path: Path) -> None:
    store = VerdictStore(path)
    store.write(KEY, EQUAL)
    shutil.copytree(path.parent, tmp_path / "copy")  # what lies on disk while the file is still open
    store.close()
    copy = VerdictStore(tmp_path / "copy" / "verdicts.db")
    assert copy.read(KEY) == EQUAL
    copy.close()
