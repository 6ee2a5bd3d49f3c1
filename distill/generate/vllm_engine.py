"""A vLLM engine: its arguments, its start, its end, and in plain words why it does not start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from distill.errors import DistillError
from distill.generate.base import BackendOptions
from distill.generate.vllm_processes import Guard, start_guarded
from distill.models import resolve_model

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.v1.engine.llm_engine import LLMEngine

# What vLLM reads from the environment only; whatever is set there already stays.
ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",  # a hundred lines of its start would bury our own
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS": "1",  # an idle worker just sits it out
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # this process has threads, and a fork copies the locks that they hold
}
# More at once gain nothing, and the engine sets memory aside for as many.
MAX_SEQUENCES = 1024
# The engine tells of new tokens in lots of this size: often enough to watch, and few enough to cost nothing.
STREAM_INTERVAL = 16
# By itself vLLM takes nearly all of a machine's memory for it.
CPU_CACHE_BYTES = 4 * 2**30
# Until an engine that does not end by itself is killed, and leaves shared memory behind.
CLOSING_SECONDS = 20.0


class Engine:
    """A running engine and its processes."""

    def __init__(self, llm: LLM, guard: Guard | None, *, on_cpu: bool) -> None:
        """Take over what ``start_engine`` has started.

        Args:
            guard: over the engine's processes; None where it runs in this one.
        """
        self._llm, self._guard, self.on_cpu = llm, guard, on_cpu

    @property
    def core(self) -> LLMEngine:
        """What takes requests and steps."""
        return self._llm.llm_engine

    @property
    def takes_seeds(self) -> bool:
        """Whether a request may bring its seed.

        On the CPU the engine dies of one as soon as a prompt is read in several pieces.
        """
        return not (self.on_cpu and self.core.vllm_config.scheduler_config.enable_chunked_prefill)

    def close(self) -> None:
        """End the engine's processes, or free what it holds in this one."""
        self.core.engine_core.shutdown(timeout=CLOSING_SECONDS)
        if self._guard is not None:
            self._guard.close()
            return
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        del self._llm
        cleanup_dist_env_and_memory()


def start_engine(options: BackendOptions) -> Engine:
    """An engine with the teacher loaded, ready for requests; ``check_installed`` comes first.

    Raises:
        DistillError: it cannot start with these options on this machine.
    """
    import vllm
    from vllm import envs
    from vllm.platforms import current_platform

    teacher = options.teacher
    if teacher.device not in ("auto", current_platform.device_type):
        raise DistillError(
            f"vllm is installed for '{current_platform.device_type}' here, teacher.device is '{teacher.device}'",
            hint="leave teacher.device at 'auto'; CUDA_VISIBLE_DEVICES picks among several GPUs",
        )
    _check_whole(teacher.model)
    on_cpu = current_platform.is_cpu()
    arguments = engine_arguments(options, on_cpu=on_cpu)
    with _explained(options, on_cpu=on_cpu):
        if not envs.VLLM_ENABLE_V1_MULTIPROCESSING:
            return Engine(vllm.LLM(**arguments), None, on_cpu=on_cpu)
        llm, guard = start_guarded(lambda: vllm.LLM(**arguments))
        return Engine(llm, guard, on_cpu=on_cpu)


def engine_arguments(options: BackendOptions, *, on_cpu: bool) -> dict[str, Any]:
    """What the engine is made with; ``teacher.engine_options`` have the last word."""
    teacher, folder = options.teacher, _folder(options.teacher.model)
    dtype = "float32" if on_cpu else "bfloat16"
    arguments: dict[str, Any] = {
        "model": str(folder) if folder.is_dir() else teacher.model,
        "dtype": dtype if teacher.dtype == "auto" else teacher.dtype,
        "seed": options.seed % 2**32,
        "generation_config": "vllm",  # else the model's own top-k and penalties join in
        "logprobs_mode": "raw_logprobs",
        "skip_tokenizer_init": True,  # ids go in and come out
        "enable_prefix_caching": True,
        "tensor_parallel_size": teacher.tensor_parallel_size,
        "max_num_seqs": min(teacher.groups_in_flight * options.sampling.num_completions, MAX_SEQUENCES),
        "stream_interval": STREAM_INTERVAL,
        "use_tqdm_on_load": False,
    }
    if options.bounds is not None:
        arguments["max_logprobs"] = options.bounds.top_k
    if teacher.max_model_len is not None:
        arguments["max_model_len"] = teacher.max_model_len
    if teacher.gpu_memory_utilization is not None:
        arguments["gpu_memory_utilization"] = teacher.gpu_memory_utilization
    elif on_cpu:
        arguments["kv_cache_memory_bytes"] = CPU_CACHE_BYTES
    if on_cpu:
        arguments["enable_chunked_prefill"] = False  # see Engine.takes_seeds
    return arguments | teacher.engine_options


def _folder(name: str) -> Path:
    return Path(resolve_model(name)).expanduser()


def _check_whole(name: str) -> None:
    if (_folder(name) / "adapter_config.json").is_file() and not (_folder(name) / "config.json").is_file():
        raise DistillError(
            f"'{name}' is an adapter, and the vllm backend reads whole models",
            hint="teacher.backend=hf reads adapters; peft's merge_and_unload makes a whole model of one",
        )


def check_installed() -> None:
    """Raise a DistillError unless vLLM can be imported; sets up what it reads from the environment."""
    if find_spec("vllm") is None:
        raise DistillError(
            "the backend 'vllm' needs vllm, which is not installed",
            hint="pip install 'distill-reasoning[vllm]'; or teacher.backend=server, with 'vllm serve' elsewhere",
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        raise DistillError(
            f"vllm is installed but cannot be imported: {_reason(error)}",
            hint="its torch must be the one that it was built for: an environment of its own is the surest way",
        ) from error


@contextmanager
def _explained(options: BackendOptions, *, on_cpu: bool) -> Iterator[None]:
    """Turn what vLLM raises while it starts into a DistillError."""
    import vllm.exceptions

    # newer versions have errors of their own, which are no ValueErrors
    own: type[Exception] = getattr(vllm.exceptions, "VLLMError", ValueError)
    try:
        yield
    except (own, ValueError, TypeError, KeyError, RuntimeError, OSError, ImportError, AssertionError) as error:
        model, shortage = options.teacher.model, "" if on_cpu else _memory_shortage(options)
        raise DistillError(
            f"vllm cannot start with '{model}': {shortage or _reason(error)}", hint=_hint(str(error), shortage)
        ) from error


def _reason(error: Exception) -> str:
    """The sentence of an error that says what is wrong; advice on vLLM's own flags follows it.

    >>> _reason(ValueError("Model architectures ['Foo'] are not supported for now. Supported architectures: ..."))
    "Model architectures ['Foo'] are not supported for now"
    """
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        return where + first["msg"].removeprefix("Value error, ").partition(". ")[0]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next(iter(lines), type(error).__name__).partition(". ")[0].rstrip(".")


def _hint(words: str, shortage: str) -> str:
    """What to do about an engine that does not start."""
    if shortage or "memory utilization" in words:
        return "end what else runs there, or lower teacher.gpu_memory_utilization"
    if "unexpected keyword argument" in words:
        return "teacher.engine_options takes the arguments of vllm.EngineArgs"
    if "kv cache" in words.lower() or "cache blocks" in words:
        return "lower teacher.max_model_len, or raise teacher.gpu_memory_utilization or teacher.tensor_parallel_size"
    if "derived max_model_len" in words:
        return "leave teacher.max_model_len out, or lower it to the model's own context"
    if "See root cause above" in words:
        return "vllm's own words stand above; VLLM_LOGGING_LEVEL=INFO shows more of them"
    return "teacher.engine_options passes further arguments on; VLLM_LOGGING_LEVEL=INFO shows what vllm does"


def _memory_shortage(options: BackendOptions) -> str:
    """That a device has less free memory than the engine takes, or nothing.

    Asked only after a failure: the engine's process keeps its reason to itself.
    """
    import torch

    if not torch.cuda.is_available():
        return ""
    from vllm import EngineArgs

    share = options.teacher.gpu_memory_utilization or EngineArgs.gpu_memory_utilization
    for device in range(min(options.teacher.tensor_parallel_size, torch.cuda.device_count())):
        free, total = torch.cuda.mem_get_info(device)
        if free < share * total:
            return (
                f"GPU {device} has {free / 2**30:.1f} of {total / 2**30:.1f} GiB free, "
                f"and gpu_memory_utilization asks for {share:.0%}"
            )
    return ""
