"""What every backend promises, on each of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.config import RecordedConfig, SamplingConfig, TeacherConfig
from distill.errors import DistillError
from distill.generate import Backend, open_backend
from distill.models import tokenizer_fingerprint
from distill.records import Group, Problem, Prompt
from distill.schema import group_to_row, row_to_group
from tests.tiny import save_tiny, tiny_items, tiny_tokenizer

NUM_COMPLETIONS = 3
# the last one cannot have completions: its prompt fills the model's context, and nothing is recorded for it
QUESTIONS = ["2+2=", "What is 3 plus 4?", "Why?", "x" * 64]
UNANSWERED = "p3"


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny(tmp_path_factory.mktemp("teacher"), max_position_embeddings=64))


@pytest.fixture(scope="module")
def recorded_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recorded") / "completions.jsonl"
    rows = [
        {"id": f"p{n}", "completions": ["4", "", "<think>é</think> 7"], "finish_reasons": ["stop", None, "length"]}
        for n in range(3)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.fixture(params=["hf", "recorded"])
def backend(request: pytest.FixtureRequest, model_folder: str, recorded_path: str) -> Iterator[Backend]:
    opened = open_backend(
        TeacherConfig(model=model_folder, backend=request.param, device="cpu", groups_in_flight=2),
        SamplingConfig(num_completions=NUM_COMPLETIONS, max_new_tokens=20),
        RecordedConfig(path=recorded_path, tokenizer=model_folder),
        seed=0,
    )
    yield opened
    opened.close()


def sample(backend: Backend) -> list[Group]:
    return list(backend.sample(tiny_items(QUESTIONS)))


def test_every_item_gets_one_group_with_its_own_problem_and_prompt(backend: Backend) -> None:
    groups = sorted(sample(backend), key=lambda group: group.problem.index)
    assert [(group.problem, group.prompt) for group in groups] == list(tiny_items(QUESTIONS))


def test_a_group_says_who_wrote_it_and_in_which_tokens(backend: Backend) -> None:
    assert backend.tokenizer is not None
    assert backend.tokenizer_fingerprint == tokenizer_fingerprint(backend.tokenizer)
    for group in sample(backend):
        assert group.teacher == backend.teacher != ""
        assert group.tokenizer_fingerprint == backend.tokenizer_fingerprint
        assert group.entropy_kind == backend.entropy_kind


def test_a_problem_that_cannot_have_completions_gets_an_empty_group(backend: Backend) -> None:
    sizes = {group.problem.id: len(group.completions) for group in sample(backend)}
    assert sizes == {"p0": NUM_COMPLETIONS, "p1": NUM_COMPLETIONS, "p2": NUM_COMPLETIONS, UNANSWERED: 0}


def test_per_token_lists_are_as_long_as_the_tokens(backend: Backend) -> None:
    for group in sample(backend):
        for completion in group.completions:
            assert completion.num_tokens == len(completion.token_ids)
            assert completion.num_tokens or not completion.text
            for values in (completion.logprobs, completion.entropies):
                assert values is None or len(values) == completion.num_tokens
            assert (completion.entropies is not None) == (backend.entropy_kind == "exact")


def test_the_end_token_is_among_the_tokens_of_a_stopped_completion_and_never_in_its_text(backend: Backend) -> None:
    end = tiny_tokenizer().eos_token_id
    reasons = set()
    for group in sample(backend):
        for completion in group.completions:
            reasons.add(completion.finish_reason)
            stopped = completion.finish_reason == "stop"
            assert (completion.token_ids[-1:] == (end,)) == stopped
            text_ids = completion.token_ids[:-1] if stopped else completion.token_ids
            assert completion.text == tiny_tokenizer().decode(text_ids, skip_special_tokens=False)
    assert "length" in reasons


def test_a_prompt_that_opens_think_is_told_to_the_completion(backend: Backend) -> None:
    problem, prompt = next(tiny_items(["Why?"]))
    opened = Prompt((), "plain", prompt.text, prompt.token_ids, opens_think=True)
    (group,) = backend.sample([(problem, opened)])
    assert all(completion.think_opened for completion in group.completions)


def test_progress_adds_up_to_all_tokens(backend: Backend) -> None:
    told: list[int] = []
    groups = list(backend.sample(tiny_items(QUESTIONS), told.append))
    assert sum(told) == sum(completion.num_tokens for group in groups for completion in group.completions)


def test_items_are_not_read_all_at_once(backend: Backend) -> None:
    read: list[str] = []

    def watched() -> Iterator[tuple[Problem, Prompt]]:
        for problem, prompt in tiny_items(["Why?"] * 50):
            read.append(problem.id)
            yield problem, prompt

    next(backend.sample(watched()))
    assert 0 < len(read) < 20


def test_sampling_twice_gives_the_same_groups(backend: Backend) -> None:
    assert sample(backend) == sample(backend)


def test_a_group_survives_being_stored(backend: Backend) -> None:
    for group in sample(backend):
        stored = row_to_group(group_to_row(group))
        assert stored.problem == group.problem
        assert stored.prompt == group.prompt
        assert [c.token_ids for c in stored.completions] == [c.token_ids for c in group.completions]
        assert [c.num_tokens for c in stored.completions] == [c.num_tokens for c in group.completions]


def test_no_items_give_no_groups(backend: Backend) -> None:
    assert list(backend.sample([])) == []


def test_an_unknown_backend_is_an_error() -> None:
    with pytest.raises(DistillError, match="no backend is called 'vlm'"):
        open_backend(TeacherConfig(backend="vlm"), SamplingConfig(), RecordedConfig(), 0)


def test_a_backend_of_ones_own_gets_all_options() -> None:
    teacher = TeacherConfig(backend="tests.test_generate_backends:OwnBackend", model="mine")
    opened = open_backend(teacher, SamplingConfig(), RecordedConfig(), 3, inline_entropies=False)
    assert opened.teacher == "mine 3 False"


class OwnBackend:
    """Shows what a registered backend is made from."""

    def __init__(self, options) -> None:  # type: ignore[no-untyped-def]
        self.teacher = f"{options.teacher.model} {options.seed} {options.inline_entropies}"


def test_importing_the_room_loads_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import distill.generate, distill.models, sys; assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
