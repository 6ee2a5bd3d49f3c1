"""A seccomp filter: the system calls that a submitted program has no business with are refused by the kernel.

It takes away new processes (threads stay), signals to and limits of other processes, memory that no
limit counts (memfd, System V), and the calls that most exploits of the kernel begin with. It is part of
the sandbox of the verifier 'code', runs in its child, and imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

# linux/audit.h, then the numbers of the calls that are named below.
ARCHITECTURES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {"clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "ptrace": 101, "pivot_root": 155}
        | {"mount": 165, "umount2": 166, "tkill": 200, "tgkill": 234, "add_key": 248, "request_key": 249, "keyctl": 250}
        | {"shmget": 29, "msgget": 68, "semget": 64, "io_setup": 206, "unshare": 272, "perf_event_open": 298}
        | {"prlimit64": 302, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311}
        | {"memfd_create": 319, "bpf": 321, "execveat": 322, "userfaultfd": 323, "rt_sigqueueinfo": 129}
        | {"rt_tgsigqueueinfo": 297, "setpriority": 141, "sched_setaffinity": 203, "sched_setscheduler": 144}
        | {"init_module": 175, "finit_module": 313, "kexec_load": 246, "chroot": 161, "name_to_handle_at": 303},
    ),
    "aarch64": (
        0xC00000B7,
        {"clone": 220, "execve": 221, "kill": 129, "ptrace": 117, "pivot_root": 41}
        | {"mount": 40, "umount2": 39, "tkill": 130, "tgkill": 131, "add_key": 217, "request_key": 218, "keyctl": 219}
        | {"shmget": 194, "msgget": 186, "semget": 190, "io_setup": 0, "unshare": 97, "perf_event_open": 241}
        | {"prlimit64": 261, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271}
        | {"memfd_create": 279, "bpf": 280, "execveat": 281, "userfaultfd": 282, "rt_sigqueueinfo": 138}
        | {"rt_tgsigqueueinfo": 240, "setpriority": 140, "sched_setaffinity": 122, "sched_setscheduler": 119}
        | {"init_module": 105, "finit_module": 273, "kexec_load": 104, "chroot": 51, "name_to_handle_at": 264},
    ),
}
# Numbers from 424 on are the same on every architecture.
EVERYWHERE = {"pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}
EVERYWHERE |= {"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433}
EVERYWHERE |= {"pidfd_open": 434, "pidfd_getfd": 438, "mount_setattr": 442, "memfd_secret": 447}
CLONE3 = 435
ON_ITSELF = ("kill", "tgkill", "prlimit64", "sched_setaffinity", "sched_setscheduler")
CLONE_THREAD = 0x00010000
X32_BIT = 0x40000000

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
ALLOW, REFUSE, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x00050000, 0x80000000, 1, 38
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2

Instruction = tuple[int, int, int, int]


def system_calls() -> dict[str, int]:
    """The call numbers of this machine; empty where they are not known."""
    known = ARCHITECTURES.get(os.uname().machine) if sys.platform == "linux" else None
    return known[1] | EVERYWHERE if known else {}


def refuse_system_calls() -> bool:
    """Install the filter for this process, for good; False where this system has none.

    A refused call fails with EPERM, which Python raises as PermissionError.
    """
    if not system_calls():
        return False
    audit_number, _ = ARCHITECTURES[os.uname().machine]
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _program(audit_number, os.getpid()))
    text = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(text)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.addressof(program), 0, 0) == 0)


def _program(audit_number: int, process_id: int) -> list[Instruction]:
    """The filter in BPF; a jump's two distances count the instructions skipped when it holds and when it does not."""
    calls = system_calls()
    refuse, allow = (RETURN, 0, 0, REFUSE | EPERM), (RETURN, 0, 0, ALLOW)
    program: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, audit_number),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (JUMP_AT_LEAST, 0, 1, X32_BIT),  # a second set of numbers for the same calls
        refuse,
        # clone3 hides its flags in memory; called unknown, so that the C library falls back to clone
        (JUMP_EQUAL, 0, 1, CLONE3),
        (RETURN, 0, 0, REFUSE | ENOSYS),
        (JUMP_EQUAL, 0, 4, calls["clone"]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_BITS, 0, 1, CLONE_THREAD),
        allow,
        refuse,
    ]
    for name in ON_ITSELF:
        program += [(JUMP_EQUAL, 0, 5, calls[name]), (LOAD, 0, 0, FIRST_ARGUMENT)]
        # 0 means the caller itself, but for kill its process group
        program += [(JUMP_EQUAL, 1, 0, process_id), (JUMP_EQUAL, 0, 1, process_id if name == "kill" else 0)]
        program += [allow, refuse]
    for name, number in calls.items():
        if name != "clone" and name not in ON_ITSELF:
            program += [(JUMP_EQUAL, 0, 1, number), refuse]
    return [*program, allow]
