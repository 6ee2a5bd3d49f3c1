"""Start, bound and kill the process in which a submitted program runs.

    distill ── sandbox.py ──► code_process.py, a fresh Python with nothing of this process's environment
                                 └─ jail.py             namespaces: no network, no other processes, no files
                                 └─ syscall_filter.py   no new processes, no signals to others

One sandbox per completion, about 30 ms. This side holds the deadline and never waits without one; what it
reads is data, bounded in size, and never evaluated.
"""

from __future__ import annotations

import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from distill.errors import DistillError
from distill.verifiers.limits import Limits

FOLDER = Path(__file__).resolve().parent
# The child finds the standard library and three files of ours, without what the package imports for everybody else.
START = """
import sys
from types import ModuleType
for name, folder in zip(("distill", "distill.verifiers", "distill.verifiers.code"), sys.argv[1:]):
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__path__ = [folder]
from distill.verifiers.code.code_process import main
main()
"""
PACKAGES = [str(folder) for folder in (FOLDER.parents[1], FOLDER.parent, FOLDER)]
COMMAND = [sys.executable, "-P", "-s", "-S", "-X", "utf8", "-c", START, *PACKAGES]
START_SECONDS = 60.0  # a Python without site-packages starts in 15 ms; on a machine that swaps it takes longer
# The deadline proper is on processor time, so that a verdict does not depend on how busy the machine is.
WALL_FACTOR = 3
MAX_OUTPUT_BYTES = 8 << 20
END_SECONDS = 5.0
PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Isolation:
    """Whether submitted programs can be shut away on this system; ``reason`` says why not."""

    available: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a sandbox is to run, and how much it may use."""

    source: str
    preamble: str = ""
    """What is run before it."""
    function: str = ""
    """The function that the tests call."""
    program: bool = False
    """A script that reads standard input and writes standard output, run anew for every test."""
    cpu_seconds: float = 3.0
    """Processor time for all tests together; three times as much may pass on the clock."""
    memory_mb: int = 2048
    output_bytes: int = MAX_OUTPUT_BYTES
    """What one test may write."""


class SandboxFailedError(Exception):
    """The sandbox did not come to stand, or fell: no fault of the submission. ``reason`` is a reason code."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


class SubmissionEndedError(Exception):
    """The submission ended, or had to be ended, before it answered; ``reason`` is a reason code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@cache
def isolation() -> Isolation:
    """Try once whether this system lets a process give up network, files and other processes."""
    if os.name != "posix":
        return Isolation(False, "not a POSIX system")
    try:
        with Sandbox(Submission("import os\nos.fork()", cpu_seconds=PROBE_SECONDS)) as sandbox:
            is_filtered = sandbox.receive() == {"error": "PermissionError"}
    except (SandboxFailedError, SubmissionEndedError) as failed:
        return Isolation(False, str(failed))
    return Isolation(is_filtered, "" if is_filtered else "seccomp: no filter of system calls")


def require_sandbox(limits: Limits) -> None:
    """See to it that submitted programs may be run here; called before anything is sampled.

    Raises:
        DistillError: it was not asked for, or this system has no isolation and that was not accepted.
    """
    if not limits.allow_code:
        raise DistillError(
            "the verifier 'code' runs what a model wrote, and 'verifier.allow_code' is off",
            hint="--set verifier.allow_code=true, on a machine and as a user with nothing to lose",
        )
    if os.name != "posix":
        raise DistillError("the verifier 'code' needs Linux or macOS", hint="use a container or WSL")
    found = isolation()
    if not found.available and not limits.allow_network:
        raise DistillError(
            f"this system does not let the verifier 'code' shut a program away: {found.reason}",
            hint="allow user namespaces (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; Docker: "
            "--cap-add SYS_ADMIN --security-opt apparmor=unconfined), or let it have network and files: "
            "--set verifier.allow_network=true",
        )


class Sandbox:
    """One running submission. Not thread-safe; leaving the ``with`` block kills all of it and removes its folder."""

    def __init__(self, submission: Submission, *, isolated: bool = True) -> None:
        """Start the process and wait until it has shut itself away.

        Raises:
            SandboxFailedError: 'no_isolation' where the system refuses, 'worker_died' where it did not start.
        """
        self.isolated = isolated
        self.max_reply_bytes = 6 * submission.output_bytes + (1 << 16)  # JSON writes a control character as six
        self._received = bytearray()
        self._folder = tempfile.mkdtemp(prefix="distill-code-")
        try:
            self._process = _start(self._folder)
        except OSError as error:
            _remove(self._folder)
            raise SandboxFailedError("worker_died", str(error)) from None
        try:
            self._greet(submission)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one step and return the reply to it.

        Raises:
            SubmissionEndedError: 'timeout', 'output', 'bad_reply', or how it ended.
            SandboxFailedError: the sandbox was ended from outside.
        """
        self._send(message)
        return self.receive()

    def receive(self) -> dict[str, Any]:
        """The next reply; raises as ``ask`` does."""
        end = self._received.find(b"\n")
        while end < 0:
            self._wait_for(_descriptor(self._process.stdout), select.POLLIN)
            chunk = os.read(_descriptor(self._process.stdout), 1 << 20)
            if not chunk:
                self._fell()
            place = chunk.find(b"\n")
            end = len(self._received) + place if place >= 0 else -1
            self._received += chunk
            if len(self._received) > self.max_reply_bytes:
                raise SubmissionEndedError("output")
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        try:
            reply = json.loads(line)
        except (ValueError, RecursionError):
            raise SubmissionEndedError("bad_reply") from None
        if not isinstance(reply, dict):
            raise SubmissionEndedError("bad_reply")
        return reply

    def close(self) -> None:
        """Kill every process of the sandbox and remove its folder."""
        if self._process.returncode is None:  # not reaped yet, so the number is still its own
            if self.isolated:
                self._end_namespace()
            os.killpg(self._process.pid, signal.SIGKILL)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()
        _remove(self._folder)

    def _end_namespace(self) -> None:
        """Ask the launcher, which is ours, to end its namespace, and see its pipe close when nothing is left of it."""
        os.kill(self._process.pid, signal.SIGTERM)
        self._deadline = time.monotonic() + END_SECONDS
        with suppress(SubmissionEndedError):
            while True:
                self._wait_for(_descriptor(self._process.stdout), select.POLLIN)
                if not os.read(_descriptor(self._process.stdout), 1 << 20):
                    return

    def _greet(self, submission: Submission) -> None:
        self._deadline = time.monotonic() + START_SECONDS
        try:
            reply = self.ask(
                {
                    "folder": self._folder,
                    "isolated": self.isolated,
                    "source": submission.source,
                    "preamble": submission.preamble,
                    "function": submission.function,
                    "program": submission.program,
                    "cpu_seconds": submission.cpu_seconds,
                    "memory_bytes": submission.memory_mb << 20,
                    "output_bytes": submission.output_bytes,
                }
            )
        except SubmissionEndedError as ended:
            raise SandboxFailedError("worker_died", f"the sandbox did not start: {ended.reason}") from None
        if "failed" in reply:
            raise SandboxFailedError("no_isolation", str(reply["failed"]))
        self._deadline = time.monotonic() + WALL_FACTOR * submission.cpu_seconds

    def _send(self, message: dict[str, Any]) -> None:
        """Write without ever waiting longer than the deadline: a submission may stop reading."""
        pipe = _descriptor(self._process.stdin)
        rest = memoryview(json.dumps(message).encode("ascii") + b"\n")
        while rest:
            self._wait_for(pipe, select.POLLOUT)
            try:
                rest = rest[os.write(pipe, rest) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                return  # the reply says how it ended

    def _wait_for(self, pipe: int, event: int) -> None:
        poller = select.poll()
        poller.register(pipe, event)
        if not poller.poll(max(0, math.ceil((self._deadline - time.monotonic()) * 1000))):
            raise SubmissionEndedError("timeout")

    def _fell(self) -> None:
        """The pipe closed without a word. A submission cannot reach its supervisor, unless there is no isolation."""
        if self.isolated:
            raise SandboxFailedError("worker_died")
        raise SubmissionEndedError("runtime_error:killed")


def _start(folder: str) -> subprocess.Popen[bytes]:
    """A Python that finds nothing but the standard library, with an empty environment and a session of its own."""
    environment = {"PYTHONHASHSEED": "0"}  # the order of a set is no reason for another verdict
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    os.set_blocking(_descriptor(process.stdin), False)
    return process


def _descriptor(stream: IO[bytes] | None) -> int:
    if stream is None:
        raise SandboxFailedError("worker_died")
    return stream.fileno()


def _remove(folder: str) -> None:
    """Remove the folder, also where the submission has taken the rights to it away."""
    for parent, names, _ in os.walk(folder):
        for name in (".", *names):
            place = Path(parent, name)
            if not place.is_symlink():
                place.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
