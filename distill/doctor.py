"""What 'distill doctor' looks at: can this machine curate, train and evaluate."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import distill
from distill.errors import DistillError

NEEDED = ("torch", "transformers", "peft", "datasets", "pyarrow", "sympy", "math-verify", "pydantic", "typer", "rich")
OPTIONAL = {
    "vllm": "distill-reasoning[vllm]",
    "datatrove": "distill-reasoning[scale]",
    "matplotlib": "distill-reasoning[plot]",
}
FREE_DISK_GB = 5


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str


def check_machine() -> list[Check]:
    """Look at Python, packages, devices, the verifier's worker, the tiny models and the disk; needs no network."""
    return [
        Check("distill", "ok", f"{distill.__version__} on Python {platform.python_version()}, {platform.system()}"),
        *_packages(),
        _device(),
        _guarded("verifier worker", _worker),
        _guarded("tiny models", _tiny_models),
        _disk(),
    ]


def check_cards() -> list[Check]:
    """Load one row of every data card from the Hub; needs network."""
    from distill.cards import card_names, load_card
    from distill.problems import check_card_on_hub

    results = [check_card_on_hub(load_card(name)) for name in card_names()]
    return [Check(result.name, "ok" if result.ok else "failed", result.detail) for result in results]


def _packages() -> list[Check]:
    found = {name: _installed_version(name) for name in (*NEEDED, *OPTIONAL)}
    missing = [name for name in NEEDED if found[name] is None]
    versions = ", ".join(f"{name} {found[name]}" for name in NEEDED if found[name])
    needed = Check("packages", "failed" if missing else "ok", f"missing: {', '.join(missing)}" if missing else versions)
    optional = [
        f"{name} {found[name]}" if found[name] else f"{name} not installed (pip install '{extra}')"
        for name, extra in OPTIONAL.items()
    ]
    return [needed, Check("extras", "ok", "; ".join(optional))]


def _installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Check("device", "ok", f"{len(names)} CUDA device(s): {', '.join(names)}")
    detail = (
        f"no CUDA device; {os.cpu_count()} CPU cores, {torch.get_num_threads()} threads: the tiny models run well here"
    )
    return Check("device", "warning", detail)


def _guarded(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", check())
    except (DistillError, OSError, RuntimeError) as error:
        return Check(name, "failed", str(error))


def _worker() -> str:
    """Make the engine decide a pair that no fast path can."""
    from distill.verifiers import verify

    verdict = verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}", kind="math")
    if verdict.score != 1.0:
        raise RuntimeError(
            f"judged that the square root of 8 is not twice that of 2: {verdict.outcome} ({verdict.reason})"
        )
    return f"decides and answers ({verdict.reason})"


def _tiny_models() -> str:
    from distill.models import load_tokenizer

    sizes = {name: len(load_tokenizer(name)) for name in ("tiny-teacher", "tiny-student")}
    return ", ".join(f"{name} ({size} tokens)" for name, size in sizes.items())


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    status: Literal["ok", "warning"] = "ok" if free >= FREE_DISK_GB else "warning"
    return Check("disk", status, f"{free:.0f} GB free in {Path.cwd()} ({sys.getfilesystemencoding()} file names)")
