"""Students in vLLM: trained in full, or by adapters that were merged, they say there what they say in transformers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from distill.config import RecordedConfig, SamplingConfig, TeacherConfig
from distill.generate import open_backend
from distill.train.loop import train_student
from distill.train.merging import merge_adapter
from tests.backend_contract import MODEL
from tests.tiny import save_tiny, tiny_items
from tests.train_fixtures import tiny_config

if find_spec("vllm") is None:
    pytest.skip("vllm is not installed here; .ci/vllm runs this", allow_module_level=True)

QUESTIONS = [f"What is {n} + {n}?" for n in range(4)]
VLLM = {"enforce_eager": True, "kv_cache_memory_bytes": 2**28}


def greedy(model: Path, backend: str) -> dict[str, tuple[int, ...]]:
    """What a model says to the questions, as token ids."""
    options: dict[str, Any] = {"engine_options": VLLM} if backend == "vllm" else {}
    teacher = TeacherConfig(model=str(model), backend=backend, dtype="float32", **options)
    opened = open_backend(
        teacher, SamplingConfig(num_completions=1, temperature=0.0, max_new_tokens=16), RecordedConfig(), seed=0
    )
    try:
        return {group.problem.id: group.completions[0].token_ids for group in opened.sample(tiny_items(QUESTIONS))}
    finally:
        opened.close()


@pytest.mark.parametrize("lora", [None, {"rank": 4, "dropout": 0.0}], ids=["full", "merged"])
def test_a_student_says_in_vllm_what_it_says_in_transformers(
    lora: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    base = save_tiny(tmp_path / "vllm base", **MODEL)
    config = tiny_config(
        tmp_path, model=str(base), lora=lora, method="sft-all-correct", epochs=8, optimizer={"learning_rate": 1e-2}
    )
    train_student(config, tmp_path / "out")
    student = tmp_path / "out" / "student"
    if lora is not None:
        merge_adapter(student, tmp_path / "merged")
        student = tmp_path / "merged"
    found = greedy(student, "vllm")
    assert found == greedy(student, "hf")
    assert found != greedy(base, "hf")  # it has learnt something
