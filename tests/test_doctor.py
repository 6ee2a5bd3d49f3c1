"""What the doctor finds in this machine and in a model, and what it advises."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from distill.doctor import Check, check_machine, check_model
from distill.doctor.machine import _devices, _hub_login, _no_device, _vllm, nvidia_driver
from distill.models import load_tokenizer, resolve_model

TOKEN = "hf_of_nobody_in_particular"


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the tiny student, to be spoilt."""
    return Path(shutil.copytree(resolve_model("tiny-student"), tmp_path / "model"))


def with_template(model: Path, template: str | None) -> Path:
    tokenizer = load_tokenizer(str(model))
    (model / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(model)
    return model


def with_config(model: Path, **changes: object) -> Path:
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    return model


def test_whatever_is_not_well_comes_with_advice() -> None:
    checks = check_machine()
    assert {"python", "torch", "vllm", "hub login", "disk", "verifier worker"} <= set(by_name(checks))
    assert all(check.hint for check in checks if check.status != "ok")


def test_a_model_that_fits_is_well_in_every_way() -> None:
    checks = by_name(check_model("tiny-student"))
    assert list(checks) == ["tokenizer", "chat template", "end tokens", "size", "packing", "memory"]
    assert {check.status for check in checks.values()} == {"ok"}
    assert "does not open <think>; takes a system message" in checks["chat template"].detail
    assert "<|im_end|>" in checks["end tokens"].detail
    assert checks["packing"].detail == "a prompt is read once for all its completions"


def test_a_base_model_is_told_to_take_plain_prompts(model: Path) -> None:
    check = by_name(check_model(str(with_template(model, None))))["chat template"]
    assert (check.status, check.detail) == ("warning", "none")
    assert "prompt.format=plain" in check.hint


TEMPLATES = {
    "{{ messages[0].content }}<|im_end|>\n<think>\n": "opens <think> itself",
    "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ messages[0].content }}": "no system role",
    "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}": "no system role",
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_template_is_tried(model: Path, template: str) -> None:
    check = by_name(check_model(str(with_template(model, template))))["chat template"]
    assert check.status == "ok"
    assert TEMPLATES[template] in check.detail


@pytest.mark.parametrize("template", ["always the same", "{{ messages[1].content }}", "{% nonsense %}"])
def test_a_template_that_loses_the_question_or_fails_is_found(model: Path, template: str) -> None:
    check = by_name(check_model(str(with_template(model, template))))["chat template"]
    assert check.status == "failed"
    assert "prompt.format=plain" in check.hint


def test_a_model_without_an_end_token_is_found(model: Path) -> None:
    with_template(model, None)
    for name in ("generation_config.json", "config.json"):
        path = model / name
        if path.exists():
            path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"eos_token_id": None}), "utf-8")
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"eos_token": None}), "utf-8")
    check = by_name(check_model(str(model)))["end tokens"]
    assert (check.status, check.detail) == ("failed", "none")


def test_attention_that_cannot_read_groups_is_named(model: Path) -> None:
    spoilt = with_config(model, use_sliding_window=True, sliding_window=64, max_window_layers=0, layer_types=None)
    check = by_name(check_model(str(spoilt)))["packing"]
    assert "sliding" in check.detail
    assert "read again for each completion" in check.detail


def test_a_model_that_is_too_large_is_told_what_to_turn(model: Path) -> None:
    grown = with_config(model, hidden_size=16384, intermediate_size=65536, num_hidden_layers=128, layer_types=None)
    check = by_name(check_model(str(grown)))["memory"]
    assert check.status == "warning"
    assert "lora.rank" in check.hint


def test_a_folder_that_is_no_model_fails_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    checks = check_model(str(tmp_path / "empty"))
    assert [(check.name, check.status) for check in checks] == [("tokenizer", "failed"), ("training", "failed")]
    assert all("config.json" in check.hint for check in checks)


class Whoami(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.headers["Authorization"] == f"Bearer {TOKEN}"
        body = b'{"name": "ada"}' if known else b'{"error": "Invalid username or password."}'
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Whoami)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield endpoint
    server.shutdown()
    server.server_close()
    thread.join()


def test_who_is_logged_in_is_shown_and_the_token_is_not(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert _hub_login() == Check("hub login", "ok", "ada")
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}_wrong")
    check = _hub_login()
    assert (check.status, "401" in check.detail, TOKEN in f"{check}") == ("failed", True, False)


def test_a_hub_that_does_not_answer_is_a_warning(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    check = _hub_login()
    assert (check.status, TOKEN in f"{check}") == ("warning", False)


def test_a_vllm_for_another_torch_is_found_before_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "vllm-99.0.dist-info"
    folder.mkdir()
    metadata = "Metadata-Version: 2.1\nName: vllm\nVersion: 99.0\nRequires-Dist: torch==1.0.0\n"
    (folder / "METADATA").write_text(metadata, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    check = _vllm()
    assert check.status == "failed"
    assert "99.0 wants torch==1.0.0" in check.detail


def test_a_driver_without_a_torch_for_it_is_told_apart_from_no_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 575.51.03\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert nvidia_driver() == "575.51.03"
    assert "torch is built for the CPU" in _no_device("575.51.03", built_for_cuda=False).detail
    assert "CUDA_VISIBLE_DEVICES" in _no_device("575.51.03", built_for_cuda=True).hint
    assert _no_device("", built_for_cuda=False).detail.startswith("none")


GPUS = {
    # name: (compute capability, GB free, GB in all) -> (status, in its detail, in its hint)
    "NVIDIA H200": ((9, 0), 139, 141, "ok", "139 GB of 141 GB free, driver 575.51.03, computes in bfloat16", ""),
    "Tesla T4": ((7, 5), 15, 16, "warning", "has no bfloat16", "dtype=float32"),
    "NVIDIA A100": ((8, 0), 3, 80, "warning", "3.0 GB of 80 GB free", "nvidia-smi"),
}


@pytest.mark.parametrize("name", GPUS)
def test_a_gpu_is_told_by_its_memory_its_types_and_what_others_take(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    capability, free, total, status, detail, hint = GPUS[name]
    # no device is here; this is what torch says where one is
    for attribute, value in (
        ("is_available", True),
        ("device_count", 1),
        ("get_device_name", name),
        ("get_device_capability", capability),
        ("mem_get_info", (free * 10**9, total * 10**9)),
    ):
        monkeypatch.setattr(f"torch.cuda.{attribute}", lambda *_, value=value: value)
    monkeypatch.setattr("distill.doctor.machine.nvidia_driver", lambda: "575.51.03")
    (check,) = _devices()
    assert (check.name, check.status) == ("gpu 0", status)
    assert name in check.detail
    assert detail in check.detail
    assert hint in check.hint
