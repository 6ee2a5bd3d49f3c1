"""The same benchmark through transformers, an engine of vLLM in this process and `vllm serve`: the same completions."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from distill.config import EvalConfig
from distill.evals.compare import compare_reports
from distill.evals.report import Report
from distill.evals.run import evaluate
from distill.models import ASSETS

if find_spec("vllm") is None:
    pytest.skip("vllm is not installed here; .ci/vllm runs this in an environment that has it", allow_module_level=True)
from tests.test_generate_vllm_commands import read_until, started

NUM_PROBLEMS = 200
PORT = "8767"


def report_through(backend: str, **serving: object) -> Report:
    values = {"model": "tiny-student", "benchmarks": ("arithmetic",), "limit": NUM_PROBLEMS, "device": "cpu"}
    [report] = evaluate(EvalConfig.model_validate({**values, "backend": backend, "serving": serving}))
    return report


def test_hf_an_engine_and_a_server_give_the_same_greedy_completions(monkeypatch: pytest.MonkeyPatch) -> None:
    serve = (sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(ASSETS / "student"))
    options = ("--port", PORT, "--served-model-name", "tiny-student", "--dtype", "float32", "--enforce-eager")
    with started(*serve, *options, "--no-enable-chunked-prefill", "--generation-config", "vllm") as process:
        read_until(process.stdout, "Application startup complete")
        url = f"http://127.0.0.1:{PORT}/v1"
        ids = report_through("server", base_urls=url, tokenizer="tiny-student")
        messages = report_through("server", base_urls=url)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    engine = report_through("vllm", engine_options={"enforce_eager": True})
    comparison = compare_reports([report_through("hf"), engine, ids, messages])
    differences = [row.cells[0].difference for row in comparison.rows[1:] if row.cells[0] is not None]
    assert [found and found.same_completions for found in differences] == [NUM_PROBLEMS] * 3
    assert [row.label for row in comparison.rows][:2] == ["tiny-student (backend hf)", "tiny-student (backend vllm)"]
