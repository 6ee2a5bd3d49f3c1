"""The vLLM backend without vLLM: what its engine would be made with, and the error that says what is missing."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from distill.config import RecordedConfig, SamplingConfig, TeacherConfig
from distill.errors import DistillError
from distill.generate import BackendOptions, BoundsOptions, open_backend
from distill.generate.vllm_engine import MAX_SEQUENCES, engine_arguments
from distill.models import ASSETS


def arguments(*, on_cpu: bool = False, seed: int = 0, **teacher: Any) -> dict[str, Any]:
    options = BackendOptions(TeacherConfig(backend="vllm", **teacher), SamplingConfig(num_completions=8), seed=seed)
    return engine_arguments(options, on_cpu=on_cpu)


def test_without_vllm_the_error_says_what_to_install_and_what_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(DistillError, match="'vllm' needs vllm, which is not installed") as raised:
        open_backend(TeacherConfig(backend="vllm"), SamplingConfig(), RecordedConfig(), 0)
    assert "distill-reasoning[vllm]" in raised.value.hint
    assert "teacher.backend=server" in raised.value.hint


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"model": str(ASSETS / "teacher"), "dtype": "bfloat16", "tensor_parallel_size": 1, "max_num_seqs": 128}),
        ({"on_cpu": True}, {"dtype": "float32", "enable_chunked_prefill": False, "kv_cache_memory_bytes": 4 * 2**30}),
        ({"dtype": "float16"}, {"dtype": "float16"}),
        ({"model": "Qwen/Qwen2.5-7B"}, {"model": "Qwen/Qwen2.5-7B"}),
        ({"tensor_parallel_size": 4, "max_model_len": 512}, {"tensor_parallel_size": 4, "max_model_len": 512}),
        ({"gpu_memory_utilization": 0.5, "on_cpu": True}, {"gpu_memory_utilization": 0.5}),
        ({"groups_in_flight": 3}, {"max_num_seqs": 24}),
        ({"groups_in_flight": 3000}, {"max_num_seqs": MAX_SEQUENCES}),
        ({"seed": 2**40 + 7}, {"seed": 7}),  # the engine's seed has 32 bits
        ({"engine_options": {"dtype": "half", "quantization": "fp8"}}, {"dtype": "half", "quantization": "fp8"}),
        ({"engine_options": {"enable_chunked_prefill": True}, "on_cpu": True}, {"enable_chunked_prefill": True}),
    ],
)
def test_engine_arguments(given: dict[str, Any], expected: dict[str, Any]) -> None:
    found = arguments(**given)
    assert {name: found.get(name) for name in expected} == expected


def test_what_an_engine_decides_by_itself_is_left_to_it() -> None:
    undecided = {"max_model_len", "gpu_memory_utilization", "enable_chunked_prefill", "kv_cache_memory_bytes"}
    assert not undecided & set(arguments())
    assert "kv_cache_memory_bytes" not in arguments(on_cpu=True, gpu_memory_utilization=0.5)


def test_the_models_own_sampling_defaults_stay_out_and_log_probabilities_are_raw() -> None:
    found = arguments()
    assert (found["generation_config"], found["logprobs_mode"]) == ("vllm", "raw_logprobs")
    assert found["enable_prefix_caching"]


def test_an_engine_gives_as_many_log_probabilities_as_bounds_are_made_of() -> None:
    options = BackendOptions(TeacherConfig(backend="vllm"), bounds=BoundsOptions(64))
    assert engine_arguments(options, on_cpu=True)["max_logprobs"] == 64
    assert "max_logprobs" not in arguments()
