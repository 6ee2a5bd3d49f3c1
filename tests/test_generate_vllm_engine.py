"""The vLLM backend on real engines, in this process and in processes of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.config import RecordedConfig, SamplingConfig, TeacherConfig
from distill.errors import DistillError
from distill.generate import BackendOptions, BoundsOptions, open_backend
from distill.generate.entropies import score_entropies
from distill.generate.server_requests import request_seed
from distill.generate.vllm import VLLMBackend
from distill.generate.vllm_engine import _memory_shortage
from distill.models import load_model
from distill.records import Group
from tests.backend_contract import save_model
from tests.tiny import tiny_items

if find_spec("vllm") is None:
    pytest.skip(
        "vllm is not installed here; .ci/vllm runs this, and its part of the contract, in an environment that has it",
        allow_module_level=True,
    )
OWN_CACHE: dict[str, Any] = {"engine_options": {"kv_cache_memory_bytes": None}}
QUESTIONS = tuple(f"What is {n} plus {3 * n}? " for n in range(6))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, frozenset[int]]:
    return save_model(tmp_path_factory.mktemp("vllm") / "teacher")


@pytest.fixture(scope="module")
def model(saved: tuple[Path, frozenset[int]]) -> Path:
    return saved[0]


@pytest.fixture(scope="module")
def ends(saved: tuple[Path, frozenset[int]]) -> frozenset[int]:
    return saved[1]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # loads in seconds


def open_vllm(model: Path | str, sampling: dict[str, Any] | None = None, **teacher: Any) -> Any:
    options = {"enforce_eager": True, "kv_cache_memory_bytes": 2**28, **teacher.pop("engine_options", {})}
    return open_backend(
        TeacherConfig(model=str(model), backend="vllm", engine_options=options, **teacher),
        SamplingConfig(**{"num_completions": 3, "max_new_tokens": 20, **(sampling or {})}),
        RecordedConfig(),
        seed=5,
    )


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        backend = open_vllm(model)
        yield backend
        backend.close()


def test_seeds_are_those_of_a_servers_request_and_the_notes_say_what_they_promise(engine: Any) -> None:
    (group,) = engine.sample(tiny_items(QUESTIONS[:1]))
    first = request_seed(5, "p0", 0)
    assert [completion.seed for completion in group.completions] == [first, first + 1, first + 2]
    assert engine.notes[0].startswith("vllm ")
    assert "on the CPU in float32, context of 64 tokens" in engine.notes[0]
    assert "every completion has a seed of its own" in engine.notes[1]


def test_a_completion_that_the_engine_breaks_off_takes_its_group_with_it_and_no_other(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, broken = engine._engine.core, set()

    def step() -> list[Any]:
        outputs = real_step()
        for output in outputs:
            broken.add(broken.pop() if broken else output.request_id)
            for told in output.outputs:
                if output.request_id in broken and told.index == 1 and told.finish_reason:
                    told.finish_reason = "abort"
        return outputs

    real_step = core.step
    monkeypatch.setattr(core, "step", step)
    errors = Counter((group.error, len(group.completions)) for group in engine.sample(tiny_items(QUESTIONS)))
    assert errors == {("vllm ended a completion with 'abort'", 0): 1, ("", 3): 5}


def test_an_engine_that_dies_ends_the_run_with_a_word_and_the_backend_can_still_be_closed(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    def die() -> None:
        raise EngineDeadError

    aborted: list[str] = []
    monkeypatch.setattr(engine._engine.core, "step", die)
    monkeypatch.setattr(engine._engine.core, "abort_request", aborted.extend)  # a dead engine refuses this too
    with pytest.raises(DistillError, match="the vllm engine died while it sampled") as raised:
        list(engine.sample(tiny_items(QUESTIONS)))
    assert "teacher.groups_in_flight" in raised.value.hint
    assert not aborted
    monkeypatch.undo()
    engine._engine.core.abort_request([str(number) for number in range(100)])


def test_every_end_token_ends_a_completion_those_too_that_vllm_does_not_know(
    engine: Any, ends: frozenset[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine._end_ids == ends
    more = frozenset(range(60, 110))  # letters, each of which is a token
    monkeypatch.setattr(engine, "_end_ids", ends | more)
    completions = [completion for group in engine.sample(tiny_items(QUESTIONS)) for completion in group.completions]
    last = {completion.token_ids[-1] for completion in completions if completion.finish_reason == "stop"}
    assert len(last & more) > 2
    assert not any((ends | more) & set(completion.token_ids[:-1]) for completion in completions)


def test_what_is_given_up_leaves_the_engine(engine: Any) -> None:
    groups = engine.sample(tiny_items(QUESTIONS))
    next(groups)
    assert engine._engine.core.has_unfinished_requests()
    groups.close()
    assert not engine._engine.core.has_unfinished_requests()


def test_a_prompt_without_tokens_is_an_error(engine: Any) -> None:
    problem, prompt = next(tiny_items([""]))
    with pytest.raises(DistillError, match="prompt of problem 'p0' has no token ids"):
        list(engine.sample([(problem, prompt)]))


def test_tokens_are_drawn_from_the_distribution_at_the_temperature_asked_for(model: Path, in_process: None) -> None:
    backend = open_vllm(model, {"num_completions": 2000, "temperature": 0.8, "max_new_tokens": 1}, groups_in_flight=1)
    (group,) = backend.sample(tiny_items(QUESTIONS[:1]))
    backend.close()
    weights: Any = load_model(str(model), dtype="float32", device="cpu")
    with torch.no_grad():
        logits = weights(torch.tensor([group.prompt.token_ids])).logits[0, -1]
    expected = torch.softmax(logits / 0.8, dim=-1)
    counts = Counter(completion.token_ids[0] for completion in group.completions)
    # 2,000 draws over tokens of share p: four standard deviations of a binomial
    for token_id in expected.topk(5).indices.tolist():
        share, p = counts[token_id] / 2000, float(expected[token_id])
        assert abs(share - p) < 4 * (p * (1 - p) / 2000) ** 0.5


def test_the_largest_log_probabilities_enclose_the_entropy_that_the_weights_have(model: Path, in_process: None) -> None:
    options = BackendOptions(
        TeacherConfig(
            model=str(model), backend="vllm", engine_options={"enforce_eager": True, "kv_cache_memory_bytes": 2**28}
        ),
        SamplingConfig(num_completions=3, max_new_tokens=20),
        bounds=BoundsOptions(30),
    )
    backend = VLLMBackend(options)
    groups = list(backend.sample(tiny_items(QUESTIONS[:2])))
    backend.close()
    assert {group.entropy_kind for group in groups} == {"topk_bounds"}
    compared = 0
    for group, exact in zip(groups, score_entropies(groups, str(model), device="cpu"), strict=True):
        for completion, entropies in zip(group.completions, exact.entropies, strict=True):
            bounds = zip(completion.entropy_lower or (), entropies, completion.entropy_upper or (), strict=True)
            assert all(lower - 1e-3 <= entropy <= upper + 1e-3 and upper > lower for lower, entropy, upper in bounds)
            compared += len(entropies)
    assert compared > 20


def test_a_cpu_engine_that_cuts_prompts_into_pieces_gets_no_seeds_and_says_so(model: Path, in_process: None) -> None:
    options = {"enable_chunked_prefill": True, "max_num_batched_tokens": 32, "max_num_seqs": 4}
    backend = open_vllm(model, engine_options=options)
    groups = list(backend.sample(tiny_items([question * 2 for question in QUESTIONS])))
    backend.close()
    assert {completion.seed for group in groups for completion in group.completions} == {None}
    assert [len(group.completions) for group in groups] == [3] * 6
    assert backend.notes[1].startswith("no completion has a seed of its own")


def test_the_context_is_the_engines(model: Path, in_process: None) -> None:
    backend = open_vllm(model, max_model_len=32)
    groups: dict[str, Group] = {g.problem.id: g for g in backend.sample(tiny_items(["a" * 31, "b" * 32]))}
    backend.close()
    assert [completion.num_tokens for completion in groups["p0"].completions] == [1, 1, 1]
    assert groups["p1"].completions == ()


@pytest.mark.parametrize(
    ("teacher", "message", "hint"),
    [
        ({"engine_options": {"enforce_eagre": True}}, "unexpected keyword argument 'enforce_eagre'", "vllm.EngineArgs"),
        ({"max_model_len": 10**6}, "greater than the derived max_model_len", "leave teacher.max_model_len out"),
        (
            {"gpu_memory_utilization": 1.0, **OWN_CACHE},
            "less than desired CPU memory utilization",
            "gpu_memory_utilization",
        ),
        ({"engine_options": {"dtype": "int3"}}, "dtype: Input should be 'auto'", "VLLM_LOGGING_LEVEL=INFO"),
        ({"engine_options": {"kv_cache_memory_bytes": 1}}, "vllm cannot start with", "lower teacher.max_model_len"),
        ({"device": "cuda"}, "teacher.device is 'cuda'", "leave teacher.device at 'auto'"),
        ({"model": "no/such/folder"}, "there is no folder 'no/such/folder'", "a folder with config.json"),
    ],
)
def test_an_engine_that_cannot_start_says_why(
    teacher: dict[str, Any], message: str, hint: str, model: Path, in_process: None
) -> None:
    with pytest.raises(DistillError) as raised:
        open_vllm(**{"model": model, **teacher})
    assert message in str(raised.value)
    assert hint in raised.value.hint


def test_a_device_without_free_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [(70 * 2**30, 80 * 2**30), (8 * 2**30, 80 * 2**30)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: free[device])
    teacher = TeacherConfig(tensor_parallel_size=2, gpu_memory_utilization=0.8)
    assert _memory_shortage(BackendOptions(teacher)) == (
        "GPU 1 has 8.0 of 80.0 GiB free, and gpu_memory_utilization asks for 80%"
    )
    assert _memory_shortage(BackendOptions(TeacherConfig())).startswith(
        "GPU 0 has 70.0 of 80.0 GiB free"
    )  # 92% are 73.6
    assert _memory_shortage(BackendOptions(TeacherConfig(gpu_memory_utilization=0.8))) == ""


def test_an_adapter_is_refused_before_an_engine_is_started(tmp_path: Path, model: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{model}"}}')
    with pytest.raises(DistillError, match="is an adapter, and the vllm backend reads whole models"):
        open_vllm(adapter)
