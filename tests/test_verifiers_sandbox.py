"""What a submitted program may try: each attempt ends in time, reaches nothing, and is not taken for right."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from distill.records import Outcome, Verdict
from distill.verifiers.code import sandbox
from distill.verifiers.code.code import verify_code
from distill.verifiers.code.sandbox import Sandbox, SandboxFailedError, Submission, SubmissionEndedError, isolation
from distill.verifiers.limits import Limits
from distill.verifiers.setting import Setting

pytestmark = pytest.mark.skipif(not isolation().available, reason=f"no isolation here: {isolation().reason}")

ADD = {"function": "add", "cases": [{"args": [1, 2], "returns": 3}, {"args": [20, 2], "returns": 22}]}
SUM = {"cases": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "5 5\n", "stdout": "10\n"}]}
RIGHT = "def add(a, b): return a + b"
QUICK = Limits(timeout_seconds=0.2, memory_mb=200, allow_code=True)


def verdict_of(source: str, gold: Any = ADD, *, seconds: float = 1.0) -> Verdict:
    gold = gold if isinstance(gold, str) else json.dumps(gold)
    limits = Limits(timeout_seconds=seconds, memory_mb=200, allow_code=True)
    return verify_code(f"```python\n{source}\n```", gold, Setting(limits=limits))


def value_of(expression: str) -> Any:
    """What an expression is worth inside of a sandbox, as JSON; or the name of what it raises."""
    with Sandbox(Submission(f"def f(): return __import__('json').dumps({expression})", function="f")) as box:
        assert box.receive() == {"loaded": True}
        reply = box.ask({"arguments": [], "named": {}})
        return json.loads(reply["value"]) if "value" in reply else reply["error"]


@pytest.fixture(autouse=True)
def nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every sandbox of these tests removes its folder and ends all of its processes."""
    folder = tmp_path / "sandboxes"
    folder.mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    groups: list[int] = []
    start = sandbox._start

    def recorded(place: str) -> subprocess.Popen[bytes]:
        process = start(place)
        groups.append(process.pid)
        return process

    monkeypatch.setattr(sandbox, "_start", recorded)
    yield
    assert list(folder.iterdir()) == []
    wait_until_gone(lambda: [process for process in running_processes() if process_group(process) in groups])


# Never ending, and taking all there is --------------------------------------------------------------------------------

HUNGRY = {
    "loop": "while True: pass",
    "loop that catches everything": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "loop that handles signals": (
        "import signal\nfor number in range(1, 65):\n    try: signal.signal(number, lambda *_: None)\n"
        "    except (OSError, ValueError): pass\nwhile True: pass"
    ),
    "sleep": "import time\ntime.sleep(1000)",
    "deadlock": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    "regular expression": "import re\nre.match('(a*)*b', 'a' * 50)",
    "C code": "10 ** (10 ** 9)",
    "printing without end": "while True: print('x' * 1000)",
    "a thread that goes on": "import threading\ndef forever():\n    while True: pass\nthreading.Thread(target=forever).start()\nforever()",
}


@pytest.mark.parametrize("name", HUNGRY)
def test_what_does_not_end_is_wrong(name: str) -> None:
    started = time.monotonic()
    verdict = verify_code(f"```python\n{HUNGRY[name]}\n```", json.dumps(ADD), Setting(limits=QUICK))
    assert (verdict.outcome, verdict.reason) == (Outcome.INCORRECT, "timeout:passed_0_of_2")
    assert time.monotonic() - started < 30  # no bound on speed: it ended


BOMBS = {
    "fork bomb": ("import os\nwhile True: os.fork()", "runtime_error:PermissionError"),
    "fork bomb that goes on": (
        "import os\nfor _ in range(9999):\n    try: os.fork()\n    except OSError: pass\nraise KeyError",
        "runtime_error:KeyError",
    ),
    "vfork": ("import subprocess, sys\nsubprocess.run([sys.executable])", "runtime_error:"),
    "posix_spawn": ("import os\nos.posix_spawn('/bin/sh', ['sh'], {})", "runtime_error:"),
    "exec": ("import os\nos.execv('/bin/sh', ['sh'])", "runtime_error:"),
    "multiprocessing": (
        "import multiprocessing as m\nm.Process(target=print).start()",
        "runtime_error:PermissionError",
    ),
    "threads": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
        "runtime_error:RuntimeError",
    ),
    "ten gigabytes": ("x = bytearray(10 * 2**30)", "memory"),
    "a long list": ("x = []\nwhile True: x.append('y' * 2**20)", "memory"),
    "memory without a name": ("import mmap\nx = [mmap.mmap(-1, 2**26) for _ in range(99)]", "runtime_error:OSError"),
    "memory files": ("import os\nx = os.memfd_create('x')", "runtime_error:PermissionError"),
    "full disk": (
        "for n in range(999):\n    with open(str(n), 'wb') as file: file.write(b'x' * 2**22)",
        "runtime_error:OSError",
    ),
    "one big file": (
        "with open('x', 'wb') as file:\n    while True: file.write(b'x' * 2**20)",
        "runtime_error:OSError",
    ),
    "open files": ("import os\nwhile True: os.open('.', 0)", "runtime_error:OSError"),
    "deep recursion": ("def f(n): return f(n + 1)\nf(0)", "runtime_error:RecursionError"),
    "deep source": ("x = " + "(" * 50_000 + ")" * 50_000, "syntax_error"),
    "long source line": ("x = " + "-" * 100_000 + "1", ""),
    "nested blocks": (
        "\n".join(" " * depth + "if 1:" for depth in range(200)) + "\n" + " " * 200 + "pass",
        "syntax_error",
    ),
    "crash": ("import ctypes\nctypes.string_at(0)", "runtime_error:SIGSEGV"),
    "abort": ("import os\nos.abort()", "runtime_error:SIGABRT"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_takes_more_than_it_may_have_is_wrong(name: str) -> None:
    source, reason = BOMBS[name]
    verdict = verdict_of(source, seconds=5)
    assert verdict.outcome is Outcome.INCORRECT
    assert verdict.reason.startswith(reason)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("text = 'x' * 2**20\nwhile True: print(text)", "output:passed_0_of_2"),
        ("import sys\nwhile True: sys.stderr.write('x' * 2**20)", "timeout:passed_0_of_2"),
        ("import os\nos.chmod('.', 0)\nprint(sum(map(int, input().split())))", "runtime_error:PermissionError"),
        ("open(1, 'w').close(); open(0).close()\nprint(3)", "runtime_error:exit"),
    ],
)
def test_programs_may_not_flood_or_starve_the_sandbox(source: str, reason: str) -> None:
    assert verdict_of(source, SUM, seconds=0.5).reason.startswith(reason)


def test_a_value_without_end_is_too_much_output() -> None:
    limits = Limits(timeout_seconds=5, memory_mb=1000, allow_code=True)
    source = "```python\ndef add(a, b): return ['x' * 2**20] * 60\n```"
    assert verify_code(source, json.dumps(ADD), Setting(limits=limits)).reason == "output:passed_0_of_2"
    assert verdict_of("def add(a, b): return ['x' * 2**20] * 999", seconds=5).reason == "memory:passed_0_of_2"
    cyclic = "def add(a, b):\n    x = []\n    x.append(x)\n    return x"
    assert verdict_of(cyclic).reason == "test_failed:0:passed_0_of_2"


# Claiming what is not so -----------------------------------------------------------------------------------------------

CLAIMS = {
    "equal to everything": "class All:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef add(a, b): return All()",
    "an equal number": "class N(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\ndef add(a, b): return N(0)",
    "an equal list": "class L(list):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef add(a, b): return L()",
    "exit": "import sys\nsys.exit(0)",
    "exit at once": "import os\nos._exit(0)",
    "exit when called": "import os\ndef add(a, b): os._exit(0)",
    "exit of the interpreter": "def add(a, b): raise SystemExit(0)",
    "the supervisor killed": "import os\nos.kill(os.getppid(), 9)",
    "everybody killed": "import os\nos.kill(-1, 9)",
    "itself killed": "import os\nos.kill(os.getpid(), 9)",
    "printed": "print('{\"value\": 3}')\nprint('all tests passed')",
    "written to every descriptor": (
        'import os\nfor number in range(300):\n    try: os.write(number, b\'{"value": 3}\\n{"loaded": true}\\n{"done": true}\\n\' * 9)\n'
        "    except OSError: pass\ndef add(a, b): return 0"
    ),
    "all done": (
        "import os\nfor number in range(3, 300):\n    try: os.write(number, b'{\"done\": true}\\n' * 9)\n    except OSError: pass\n"
        "def add(a, b): return 0"
    ),
    "replies that are none": (
        "import os\nfor number in range(3, 300):\n    try: os.write(number, b'[' * 99999 + b'\\n')\n    except OSError: pass"
    ),
    "other builtins": (
        "import builtins, json\nbuiltins.isinstance = lambda *_: True\njson.dumps = lambda *_, **__: '{\"value\": 3}'\n"
        "builtins.compile = builtins.exec = builtins.eval = lambda *_, **__: 3\ndef add(a, b): return 0"
    ),
    "a tracer": "import sys\nsys.settrace(lambda *_: None)\nsys.setprofile(lambda *_: None)\ndef add(a, b): return 0",
    "the caller's frame": (
        "import sys\ndef add(a, b):\n    frame, found = sys._getframe(), []\n    while frame:\n"
        "        found += [v for v in list(frame.f_locals.values()) + list(frame.f_globals.values()) if isinstance(v, int) and v == 22]\n"
        "        frame = frame.f_back\n    return 3 if a == 1 else (found or [0])[0]"
    ),
    "the next question read ahead": (
        "import os, json\ndef add(a, b):\n    for number in range(3, 30):\n        try: os.set_blocking(number, False); os.read(number, 9999)\n"
        "        except OSError: pass\n    return 3"
    ),
}


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize("gold", [ADD, "assert add(1, 2) == 3\nassert add(20, 2) == 22"], ids=["cases", "asserts"])
def test_a_claim_is_no_proof(name: str, gold: Any) -> None:
    verdict = verdict_of(CLAIMS[name], gold)
    assert verdict.outcome is Outcome.INCORRECT, verdict


@pytest.mark.parametrize("name", ["exit at once", "printed", "the supervisor killed", "written to every descriptor"])
def test_a_claim_of_a_program_is_no_proof(name: str) -> None:
    assert verdict_of(CLAIMS[name], SUM).outcome is Outcome.INCORRECT


@pytest.mark.parametrize(
    "name", ["exit at once", "exit when called", "printed", "written to every descriptor", "all done", "other builtins"]
)
def test_a_check_that_must_run_inside_is_not_passed_by_leaving_or_writing(name: str) -> None:
    gold = "for a, b, c in [(1, 2, 3), (20, 2, 22)]:\n    assert add(a, b) == c"
    assert verdict_of(CLAIMS[name], gold).outcome is Outcome.INCORRECT
    assert verdict_of(RIGHT, gold).reason == "tests"


def test_what_is_expected_is_nowhere_to_be_found() -> None:
    secret = "5ac1e7" * 4
    search = (
        "import gc, sys\ndef f():\n    found = [o for o in gc.get_objects() if isinstance(o, (str, list, dict)) and '5ac1e' in repr(o)]\n"
        "    return found and max(map(repr, found), key=len)"
    )
    gold = {"function": "f", "cases": [{"args": [], "returns": secret}]}
    assert verdict_of(search, gold).reason == "test_failed:0:passed_0_of_1"


def test_a_submission_that_stops_listening_is_ended() -> None:
    source = "import os, time\ndef f(x):\n    for n in range(3, 9):\n        try: os.write(n, b'{\"value\": 1}\\n')\n        except OSError: pass\n    time.sleep(99)"
    gold = {"function": "f", "cases": [{"args": [1], "returns": 1}, {"args": ["x" * 2**22], "returns": 1}]}
    assert verdict_of(source, gold, seconds=0.2).reason == "timeout:passed_1_of_2"


# Reaching for what is outside -----------------------------------------------------------------------------------------


def test_no_socket_leads_anywhere() -> None:
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(("127.0.0.1", 0))
        abstract.bind("\0distill-test-" + str(os.getpid()))
        for server in (listener, abstract):
            server.listen()
            server.setblocking(False)
        port = listener.getsockname()[1]
        assert value_of(f"__import__('socket').create_connection(('127.0.0.1', {port}), 1)") == "OSError"
        assert value_of("__import__('socket').create_connection(('8.8.8.8', 53), 1)") == "OSError"
        unix = f"(lambda s: s.socket(s.AF_UNIX).connect('\\0distill-test-{os.getpid()}'))(__import__('socket'))"
        assert value_of(unix) == "ConnectionRefusedError"
        for server in (listener, abstract):
            with pytest.raises(BlockingIOError):
                server.accept()
    assert value_of("__import__('socket').if_nameindex()") == [[1, "lo"]]


def test_no_file_but_the_libraries_can_be_read(tmp_path: Path) -> None:
    private = tmp_path / "private.txt"
    private.write_text("secret")
    for path in (private, __file__, sandbox.__file__, "/etc/passwd", "/proc/self/status", "/proc/1/environ", "/sys"):
        assert value_of(f"__import__('os').stat({str(path)!r})") == "FileNotFoundError"
    assert not {"proc", "sys", "run", "boot", "var"} & set(value_of("__import__('os').listdir('/')"))


def test_no_file_outside_can_be_written(tmp_path: Path) -> None:
    assert value_of(f"open({str(tmp_path / 'marker')!r}, 'w').name") == "FileNotFoundError"
    library = str(Path(os.__file__))
    assert value_of(f"open({library!r}, 'a').name") in {"OSError", "PermissionError"}
    assert value_of("[open('here', 'w').write('x'), open('here').read()]") == [1, "x"]
    assert value_of("__import__('os').listdir('.')") == []
    assert list(tmp_path.rglob("marker")) == []


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "secret")
    assert set(value_of("dict(__import__('os').environ)")) <= {"PYTHONHASHSEED", "LD_LIBRARY_PATH", "LC_CTYPE"}


def test_there_are_no_rights_to_regain() -> None:
    libc = "__import__('ctypes').CDLL(None)"
    assert value_of("__import__('os').getuid()") != 0
    assert value_of(f"{libc}.unshare({0x10000000})") == -1  # a user namespace, where one would be root again
    assert value_of(f"{libc}.mount(b'none', b'/', None, 32, None)") == -1
    assert value_of(f"{libc}.ptrace(16, 1, 0, 0)") == -1
    assert value_of(f"{libc}.prctl(39, 0, 0, 0, 0)") == 1  # no new privileges, ever
    assert value_of(f"{libc}.sethostname(b'x', 1)") == -1
    assert value_of("__import__('os').chroot('/work')") == "PermissionError"
    assert value_of("__import__('os').kill(1, 0)") == "PermissionError"
    assert value_of("(lambda r: r.setrlimit(r.RLIMIT_AS, (-1, -1)))(__import__('resource'))") == "ValueError"
    assert set(value_of("__import__('os').listdir('/dev')")) == {"urandom", "random", "zero", "null", "shm"}


def test_two_sandboxes_do_not_see_each_other() -> None:
    first = Submission("import os\nopen('x', 'w').close()\ndef f(): return os.listdir('.')", function="f")
    with (
        Sandbox(first) as one,
        Sandbox(Submission("import os\ndef f(): return os.listdir('.')", function="f")) as other,
    ):
        assert [box.receive() for box in (one, other)] == [{"loaded": True}] * 2
        step = {"arguments": [], "named": {}}
        assert one.ask(step) == {"value": {"list": ["x"]}}
        assert other.ask(step) == {"value": {"list": []}}


# Where it runs ---------------------------------------------------------------------------------------------------------


def test_an_unprivileged_user_gets_a_namespace_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    setpriv = shutil.which("setpriv")
    if os.getuid() != 0 or setpriv is None:
        pytest.skip("only root can give up rights, and only with setpriv")
    without = [setpriv, "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    monkeypatch.setattr(sandbox, "COMMAND", [*without, *sandbox.COMMAND])
    assert verdict_of(RIGHT).reason == "tests"
    assert verdict_of("print(sum(map(int, input().split())))", SUM).reason == "tests"
    assert value_of("__import__('os').stat('/etc/passwd')") == "FileNotFoundError"
    assert value_of("__import__('socket').if_nameindex()") == [[1, "lo"]]
    assert value_of("__import__('os').fork()") == "PermissionError"
    assert value_of("__import__('ctypes').CDLL(None).sethostname(b'x', 1)") == -1


def test_it_works_from_threads_and_from_a_daemonic_process() -> None:
    verdicts: list[str] = []
    threads = [threading.Thread(target=lambda: verdicts.append(verdict_of(RIGHT).reason)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == ["tests"] * 3
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=lambda: queue.put(verdict_of(RIGHT).reason), daemon=True)
    process.start()
    assert queue.get() == "tests"
    process.join()


def test_without_isolation_the_limits_and_the_filter_still_hold() -> None:
    def reply_to(source: str) -> dict[str, Any]:
        submission = Submission(source, cpu_seconds=5, memory_mb=200, output_bytes=2**20)
        with Sandbox(submission, isolated=False) as box:
            return box.receive()

    assert reply_to("") == {"loaded": True}
    assert reply_to("import os\nos.fork()") == {"error": "PermissionError"}
    assert reply_to(f"import os\nos.kill({os.getpid()}, 0)") == {"error": "PermissionError"}
    assert reply_to("import os\nos.kill(-1, 9)") == {"error": "PermissionError"}
    assert reply_to("x = bytearray(2**31)") == {"error": "MemoryError"}
    assert reply_to("open('x', 'wb').write(b'x' * 2**21)") == {"error": "OSError"}
    assert reply_to("import os\nos.mkdir('x')\nopen('x/y', 'w').close()\nos.chmod('x', 0)") == {"loaded": True}


def test_a_program_that_takes_its_supervisor_down_where_it_can_is_wrong() -> None:
    with Sandbox(Submission("", cpu_seconds=5), isolated=False) as box:
        assert box.receive() == {"loaded": True}
        os.killpg(box._process.pid, signal.SIGKILL)
        with pytest.raises(SubmissionEndedError, match="runtime_error:killed"):
            box.ask({"expression": "1"})


def test_a_sandbox_that_is_ended_from_outside_says_nothing_about_the_program() -> None:
    with Sandbox(Submission("", cpu_seconds=5)) as box:
        assert box.receive() == {"loaded": True}
        os.killpg(box._process.pid, signal.SIGKILL)
        with pytest.raises(SandboxFailedError, match="worker_died"):
            box.ask({"expression": "1"})


def test_a_python_that_does_not_start_is_no_fault_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "COMMAND", [sys.executable, "-c", ""])
    assert verdict_of(RIGHT) == Verdict(Outcome.UNVERIFIED, RIGHT + "\n", "worker_died", "fenced", "sandbox")
    monkeypatch.setattr(sandbox, "COMMAND", ["/nowhere/python"])
    assert verdict_of(RIGHT).reason == "worker_died"


def test_a_killed_parent_leaves_no_sandbox_behind(tmp_path: Path) -> None:
    code = (
        "from distill.verifiers.code.sandbox import Sandbox, Submission\n"
        "box = Sandbox(Submission('while True: pass', cpu_seconds=600))\nprint(box._process.pid, flush=True)\ninput()"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert parent.stdout is not None
    launcher = int(parent.stdout.readline())
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    supervisors = [int(number) for number in children.read_text().split()] if children.exists() else []
    parent.kill()
    parent.communicate()
    wait_until_gone(lambda: {launcher, *supervisors} & set(running_processes()))


def wait_until_gone(processes: Callable[[], Collection[int]]) -> None:
    """What was killed from outside takes a moment to be gone."""
    deadline = time.monotonic() + 30
    while processes() and time.monotonic() < deadline:
        os.sched_yield()
    assert not processes()


def running_processes() -> list[int]:
    """All processes but those that are dead and only not yet collected."""
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [number for number in numbers if status_of(number)[:1] not in ([], ["Z"], ["X"])]


def process_group(process: int) -> int:
    status = status_of(process)
    return int(status[2]) if status else 0


def status_of(process: int) -> list[str]:
    """State, parent, group ... of a process; nothing once it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
