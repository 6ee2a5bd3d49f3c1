"""The child process of the verifier 'code': limits itself, then runs one submitted program against its tests.

Started by ``distill.verifiers.code.sandbox``: JSON lines in, JSON lines out. The first line says what
to run; the reply says that the sandbox stands, or why it does not. From then on

    supervisor   never touches the submission; forks runners, waits for them, says how they ended
    runner       one process under all limits, in which the submission and nothing else of interest lives

For a function there is one runner, which the parent asks step by step; for a program the supervisor
starts one runner per test, with the input as its standard input and a file as its standard output.

No expected value ever comes here. What a runner sends are the submission's own outputs, which the parent
compares: whoever forges a reply has still to know the right one. This is the one place in the house where
text becomes code, which is what the limits are for.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NoReturn

from distill.verifiers.code import jail, syscall_filter

MAX_PROCESSES = 32  # threads count; a program of the tests needs one or two
MAX_INT_BITS = 14_000  # beyond the 4,300 digits that Python itself reads
MAX_DEPTH = 100
MAX_NOTE_BYTES = 200

# What a problem's template had imported, where the submission leaves it out.
PRELUDE = {
    "typing": "List Dict Set Tuple Optional Any Union Iterable Iterator Callable Sequence Generator Mapping Type "
    "DefaultDict Deque FrozenSet NamedTuple TypeVar",
    "collections": "defaultdict deque Counter OrderedDict namedtuple ChainMap",
    "heapq": "heappush heappop heapify heapreplace heappushpop nlargest nsmallest",
    "bisect": "bisect_left bisect_right insort insort_left insort_right",
    "functools": "lru_cache cache reduce cmp_to_key partial total_ordering",
    "itertools": "accumulate permutations combinations product chain groupby zip_longest pairwise islice starmap "
    "combinations_with_replacement takewhile dropwhile",
    "math": "gcd lcm sqrt ceil floor inf isqrt comb factorial pi",
}
MODULE_OF = {name: module for module, names in PRELUDE.items() for name in names.split()}
MODULES = {*PRELUDE, "re", "sys", "os", "json", "string", "random", "operator", "datetime", "copy", "time"}
MODULES |= {"statistics", "fractions", "decimal"}


class Channel:
    """The two pipes to the parent, a JSON object per line."""

    def __init__(self) -> None:
        """Take the pipes away from descriptors 0 and 1: whatever prints, prints nowhere, and nothing can be read."""
        self.incoming, self.outgoing = os.dup(0), os.dup(1)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
        self.pending = b""

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the parent has closed the pipe."""
        parts = [self.pending]
        while b"\n" not in parts[-1]:
            chunk = os.read(self.incoming, 1 << 20)
            if not chunk:
                return None
            parts.append(chunk)
        line, _, self.pending = b"".join(parts).partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def send(self, message: dict[str, Any]) -> None:
        """Write a message; in ASCII, so that lone surrogates travel too."""
        rest = memoryview(json.dumps(message).encode("ascii") + b"\n")
        while rest:
            rest = rest[os.write(self.outgoing, rest) :]


def main() -> None:
    """Receive what to run, close the sandbox around this process, and serve the parent until it hangs up."""
    channel = Channel()
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it kills
    request = channel.receive()
    if request is None:
        return
    try:
        if request["isolated"]:
            jail.enter(request["folder"])
        else:
            os.chdir(request["folder"])
            jail.end_with_parent()
    except OSError as error:
        channel.send({"failed": error.strerror or str(error)})
        return
    channel.send({"ready": True})
    if request["program"]:
        _serve_programs(channel, request)
    else:
        _serve_steps(channel, request)


def _serve_steps(channel: Channel, request: dict[str, Any]) -> None:
    """One runner answers the parent directly; when it has ended, say how."""
    process = os.fork()
    if process == 0:
        _close_all_but({channel.incoming, channel.outgoing})
        _be_bounded(request, request["cpu_seconds"])
        _run_steps(channel, request)
    channel.send({"ended": _wait(process, request["cpu_seconds"])})


def _serve_programs(channel: Channel, request: dict[str, Any]) -> None:
    """One runner per test; its output is read back from a file when it has ended."""
    spent = 0.0
    while (step := channel.receive()) is not None:
        try:
            reply = _run_program(request, step, request["cpu_seconds"] - spent)
        except OSError as error:  # no room for its files, or its folder is gone: the submission's own doing
            reply = {"ended": {}, "error": type(error).__name__}
        spent += reply["ended"].get("seconds", 0.0)
        channel.send(reply)


def _run_program(request: dict[str, Any], step: dict[str, Any], cpu_seconds: float) -> dict[str, Any]:
    if cpu_seconds <= 0:
        return {"ended": {"timeout": True}}
    given, written = _unnamed_file(), _unnamed_file()
    note_end, note = os.pipe()
    os.set_blocking(note_end, False)
    _fill(given, step["stdin"].encode("utf-8", "replace"))
    process = os.fork()
    if process == 0:
        try:
            os.dup2(given, 0)
            os.dup2(written, 1)
            _close_all_but({note})
            _be_bounded(request, cpu_seconds)
            _run_main(request["source"], note)
        except BaseException as error:  # leave as Python leaves a script, past everything that catches other errors
            raise SystemExit(error.code if isinstance(error, SystemExit) else 1) from None
    os.close(note)
    ended = _wait(process, cpu_seconds)
    size = os.lseek(written, 0, os.SEEK_END)
    reply: dict[str, Any] = {"ended": ended, "error": _last_words(note_end)}
    if size >= request["output_bytes"]:
        reply["too_much"] = True
    else:
        os.lseek(written, 0, os.SEEK_SET)
        reply["stdout"] = _whole(written, size).decode("utf-8", "replace")
    for descriptor in (given, written, note_end):
        os.close(descriptor)
    return reply


def _be_bounded(request: dict[str, Any], cpu_seconds: float) -> None:
    """Put the limits on this process; nothing takes them off again."""
    # Outside of a namespace all processes of the user count, so that a small number would forbid the first thread.
    processes = MAX_PROCESSES if request["isolated"] else None
    jail.limit(request["memory_bytes"], max(1, int(cpu_seconds + 0.999)), request["output_bytes"], processes)
    syscall_filter.refuse_system_calls()
    for name in [name for name in sys.modules if name.partition(".")[0] in {"distill", "ctypes", "_ctypes"}]:
        del sys.modules[name]


def _run_steps(channel: Channel, request: dict[str, Any]) -> NoReturn:
    """Load the submission, then answer step after step."""
    status = 1
    with contextlib.suppress(BaseException):
        sys.modules["submission"] = module = ModuleType("submission")
        namespace = module.__dict__
        for source in (request["preamble"], request["source"]):
            reply = _load(source, namespace)
            if "error" in reply:
                break
        channel.send(reply)
        while "error" not in reply and (step := channel.receive()) is not None:
            reply = _take(step, namespace, request["function"])
            try:
                channel.send(reply)
            except MemoryError:
                channel.send({"error": "MemoryError"})
        status = 0
    os._exit(status)


def _load(source: str, namespace: dict[str, Any]) -> dict[str, Any]:
    try:
        code = compile(source, "<submission>", "exec", dont_inherit=True)
    except BaseException as error:
        return {"error": type(error).__name__, "unreadable": not isinstance(error, MemoryError)}
    try:
        _add_prelude(code, namespace)
        exec(code, namespace)
    except BaseException as error:
        return {"error": type(error).__name__}
    return {"loaded": True}


def _take(step: dict[str, Any], namespace: dict[str, Any], function: str) -> dict[str, Any]:
    """Do one step: call the function, evaluate an expression, or run statements of the tests."""
    try:
        if "arguments" in step:
            return {"value": encode(_callee(namespace, function)(*step["arguments"], **step["named"]))}
        if "expression" in step:
            return {"value": encode(eval(step["expression"], namespace))}
        exec(compile(step["statements"], "<tests>", "exec", dont_inherit=True), namespace)
        return {"done": step["token"]}
    except BaseException as error:
        return {"error": type(error).__name__}


def _callee(namespace: dict[str, Any], function: str) -> Any:
    """The function of that name, or the method of a class ``Solution``."""
    if function not in namespace and "Solution" in namespace:
        return getattr(namespace["Solution"](), function)
    found = namespace.get(function, getattr(builtins, function, None))
    if found is None:
        raise NameError(function)
    return found


def _run_main(source: str, note: int) -> NoReturn:
    """Run a program as Python would run it as a script, to the flushing of what it printed."""
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w")):
        stream = open(descriptor, mode, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = ["submission.py"]
    main_module = ModuleType("__main__")
    sys.modules["__main__"] = main_module
    try:
        code = compile(source, "<submission>", "exec", dont_inherit=True)
    except BaseException as error:
        os.write(note, f"!{type(error).__name__}".encode())
        os._exit(1)
    try:
        _add_prelude(code, main_module.__dict__)
        exec(code, main_module.__dict__)
    except BaseException as error:
        if not isinstance(error, SystemExit):
            os.write(note, type(error).__name__.encode("ascii", "replace")[:MAX_NOTE_BYTES])
        raise
    raise SystemExit(0)


def _add_prelude(code: CodeType, namespace: dict[str, Any]) -> None:
    """Import the usual names that the code uses; whatever it imports or defines itself comes after and wins."""
    for name in _names(code):
        if hasattr(builtins, name):
            continue
        if name in MODULES:
            namespace[name] = importlib.import_module(name)
        elif name in MODULE_OF:
            namespace[name] = getattr(importlib.import_module(MODULE_OF[name]), name)


def _names(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found


def encode(value: Any, depth: int = 0) -> Any:
    """A value as JSON that keeps its kind: scalars as they are, everything else under the name of its kind.

    >>> encode([1, (2.5, None), {"a": {3}}])
    {'list': [1, {'tuple': [2.5, None]}, {'dict': [['a', {'set': [3]}]]}]}
    >>> encode(map(abs, [1])), encode(2**20_000)
    ({'other': 'map'}, {'other': 'int'})
    """
    if depth > MAX_DEPTH:
        return {"other": "depth"}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if value.bit_length() <= MAX_INT_BITS else {"other": "int"}
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str(value)
    for kind, name in ((list, "list"), (tuple, "tuple"), (set, "set"), (frozenset, "set")):
        if isinstance(value, kind):
            return {name: [encode(element, depth + 1) for element in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key, depth + 1), encode(element, depth + 1)] for key, element in value.items()]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value).decode("latin-1")}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    return {"other": type(value).__name__}


def _wait(process: int, cpu_seconds: float) -> dict[str, Any]:
    """How a runner ended: its exit code or signal, and whether its time was up."""
    _, status, used = os.wait4(process, 0)
    seconds = used.ru_utime + used.ru_stime
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    is_late = killed in {signal.SIGKILL, signal.SIGXCPU} and seconds > cpu_seconds - 0.1
    return {"code": os.WEXITSTATUS(status), "signal": killed, "timeout": is_late, "seconds": seconds}


def _close_all_but(kept: set[int]) -> None:
    """Close every descriptor above 2 that is not kept."""
    last = 2
    for descriptor in [*sorted(kept), os.sysconf("SC_OPEN_MAX")]:
        os.closerange(last + 1, descriptor)
        last = descriptor


def _unnamed_file() -> int:
    name = os.urandom(16).hex()
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    Path(name).unlink()
    return descriptor


def _fill(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)


def _whole(descriptor: int, size: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read(size)


def _last_words(descriptor: int) -> str:
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, MAX_NOTE_BYTES).decode("ascii", "replace")
    return ""
