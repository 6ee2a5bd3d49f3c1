"""Namespaces for one submitted program: no network, no other processes, no files but Python's own libraries.

Linux only, x86-64 and ARM, with ``ctypes`` alone. An unprivileged user gets there through a user
namespace; root without one, and becomes an unprivileged user afterwards, because limits on the number of
processes do not bind root. It is part of the sandbox of the verifier 'code', runs in its child, and
imports nothing of ours but the table of system calls.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from distill.verifiers.code.syscall_filter import system_calls

NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER = 0x00020000, 0x04000000, 0x08000000, 0x10000000
NEW_PROCESSES, NEW_NETWORK = 0x20000000, 0x40000000
NAMESPACES = NEW_MOUNTS | NEW_UTS | NEW_IPC | NEW_PROCESSES | NEW_NETWORK
READ_ONLY, NO_SETUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
KEPT_FLAGS = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}  # of statvfs -> of mount; locked in a namespace
DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
CAPABILITY_VERSION = 0x20080522

# Users without an account that systemd sets aside for services; one per sandbox, so that limits count apart.
FIRST_USER, NUM_USERS = 61184, 4336
SCRATCH_MEGABYTES = 64
STACK_BYTES = 64 << 20  # deep recursion is no crime, and the stack counts as memory
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
WORKING_FOLDER = "/work"


def enter(folder: str) -> None:
    """Go on as the first process of a closed world, with ``folder`` (empty) as the place of its root.

    Only the child that this starts returns; the caller waits for it and ends with it.

    Raises:
        OSError: this system does not allow it; the text names the step.
    """
    calls = system_calls()
    if not calls:
        raise OSError("namespaces: not known for this system")
    user, group = os.getuid(), os.getgid()
    was_root = user == 0 and _unshare(NAMESPACES)
    if not was_root:
        _call("unshare", ctypes.c_int(NAMESPACES | NEW_USER))
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    _new_root(folder, calls["pivot_root"])
    if was_root:
        user = FIRST_USER + os.getpid() % NUM_USERS
        os.chown(WORKING_FOLDER, user, user)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os.chdir(WORKING_FOLDER)
    _drop_capabilities()
    end_with_parent()
    child = os.fork()
    if child != 0:
        # The first process of its namespace is waited for only when all others are gone.
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
        os.waitpid(child, 0)
        os._exit(0)
    end_with_parent()


def end_with_parent() -> None:
    """Be killed when the process that started this one ends; on systems without such a wish, do nothing."""
    if sys.platform == "linux":
        _call("prctl", *(ctypes.c_ulong(number) for number in (PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)))


def limit(memory_bytes: int, cpu_seconds: int, file_bytes: int, processes: int | None) -> None:
    """Bound this process for good; a limit that the system does not know is left out."""
    import resource

    wanted = {"RLIMIT_AS": memory_bytes, "RLIMIT_CPU": cpu_seconds, "RLIMIT_FSIZE": file_bytes}
    wanted |= {
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_SIGPENDING": 64,
    }
    if processes is not None:
        wanted["RLIMIT_NPROC"] = processes
    for name, number in wanted.items():
        if hasattr(resource, name):
            _limit(getattr(resource, name), number)
    _limit(resource.RLIMIT_STACK, STACK_BYTES)


def _limit(kind: int, number: int) -> None:
    import resource

    _, hard = resource.getrlimit(kind)
    number = number if hard == resource.RLIM_INFINITY else min(number, hard)
    with suppress(ValueError, OSError):  # macOS refuses some; the deadline still holds
        resource.setrlimit(kind, (number, number))


def _new_root(folder: str, pivot_root: int) -> None:
    """Mount an empty root of its own at ``folder``, Python's libraries in it read-only, and leave the old one."""
    _mount("none", "/", "", RECURSIVE | PRIVATE)
    options = f"size={SCRATCH_MEGABYTES}m,nr_inodes=4k,mode=755"
    _mount("tmpfs", folder, "tmpfs", NO_SETUID | NO_DEVICES, options)
    for library in _libraries():
        _show(library, folder)
    for device in DEVICES:
        place = Path(folder + device)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        _mount(device, str(place), "", BIND)
    shared_memory = Path(folder + "/dev/shm")
    shared_memory.mkdir()
    shared_memory.chmod(0o777)
    Path(folder + WORKING_FOLDER).mkdir()
    os.chdir(folder)
    _call("syscall", ctypes.c_long(pivot_root), ctypes.c_char_p(b"."), ctypes.c_char_p(b"."))
    _call("umount2", ctypes.c_char_p(b"."), ctypes.c_int(DETACH))
    os.chdir("/")


def _libraries() -> list[str]:
    """The folders and files that Python may still have to load something from, none inside another."""
    places = [str(Path(os.__file__).parent), *sys.path, *os.environ.get("LD_LIBRARY_PATH", "").split(":")]
    places += [f"{prefix}/{name}" for prefix in {sys.base_prefix, sys.base_exec_prefix} for name in ("lib", "lib64")]
    places += ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"]
    found = sorted({place for place in places if place.startswith("/") and Path(place).exists()}, key=len)
    kept: list[str] = []
    for place in found:
        if not any(place.startswith(other + "/") for other in kept):
            kept.append(place)
    return kept


def _show(source: str, folder: str) -> None:
    place = Path(folder + source)
    place.parent.mkdir(parents=True, exist_ok=True)
    if Path(source).is_dir():
        place.mkdir(exist_ok=True)
    else:
        place.touch()
    _mount(source, str(place), "", BIND | RECURSIVE)
    present = os.statvfs(place).f_flag
    kept = sum(flag for bit, flag in KEPT_FLAGS.items() if present & bit)
    _mount(
        "none", str(place), "", BIND | REMOUNT | READ_ONLY | NO_SETUID | NO_DEVICES | kept & ~(NO_SETUID | NO_DEVICES)
    )


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _call("capset", header, nothing)
    for option, value in ((PR_SET_NO_NEW_PRIVS, 1), (PR_SET_DUMPABLE, 0)):
        _call("prctl", *(ctypes.c_ulong(number) for number in (option, value, 0, 0, 0)))


def _unshare(flags: int) -> bool:
    try:
        _call("unshare", ctypes.c_int(flags))
    except OSError:
        return False
    return True


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    texts = [ctypes.c_char_p(os.fsencode(text)) for text in (source, target, kind)]
    try:
        _call("mount", *texts, ctypes.c_ulong(flags), ctypes.c_char_p(options.encode()))
    except OSError as error:
        raise OSError(error.errno, f"mount {target}: {error.strerror}") from None


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="ascii")
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from None


def _call(name: str, *arguments: object) -> None:
    """Call the C library; what it refuses is raised, with the name of the call."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
