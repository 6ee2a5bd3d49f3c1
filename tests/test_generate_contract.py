"""What every backend promises, on each of them."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Generator, Iterable, Iterator
from importlib.util import find_spec
from typing import Any, cast

import pytest
import torch

from distill.generate import Backend
from distill.models import load_model, tokenizer_fingerprint
from distill.records import Completion, Group, Problem, Prompt
from distill.schema import group_to_row, row_to_group
from tests.backend_contract import (
    CONTEXT,
    GROUPS_IN_FLIGHT,
    MAX_NEW_TOKENS,
    NUM_COMPLETIONS,
    UNANSWERED,
    Subject,
    items,
    open_subject,
)
from tests.tiny import tiny_items, tiny_tokenizer

# vLLM has an environment of its own, in which .ci/vllm runs these tests; test_generate_vllm.py says so where it has not.
BACKENDS = ["hf", "recorded", "server"] + ["vllm"] * (find_spec("vllm") is not None)
# Completions that exist already know no seeds and no limits; what a server's weights would say cannot be read again.
those_that_sample = pytest.mark.parametrize("subject", [n for n in BACKENDS if n != "recorded"], indirect=True)
those_with_weights = pytest.mark.parametrize("subject", [n for n in BACKENDS if n in ("hf", "vllm")], indirect=True)


@pytest.fixture(scope="module", params=BACKENDS)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    with open_subject(request.param, tmp_path_factory.mktemp(request.param)) as opened:
        yield opened


@pytest.fixture
def backend(subject: Subject) -> Backend:
    return subject.open()


@pytest.fixture(scope="module")
def groups(subject: Subject) -> dict[str, Group]:
    """What the backend makes of the contract's problems, by id."""
    return sample(subject.open())


@pytest.fixture(scope="module")
def completions(groups: dict[str, Group]) -> list[Completion]:
    return [completion for group in groups.values() for completion in group.completions]


def sample(backend: Backend) -> dict[str, Group]:
    return {group.problem.id: group for group in backend.sample(items())}


def many(number: int) -> Iterator[tuple[Problem, Prompt]]:
    return tiny_items(f"{n}+{n}=" for n in range(number))


# --- groups


def test_every_item_gets_one_group_with_its_own_problem_and_prompt(backend: Backend) -> None:
    groups = sorted(backend.sample(items()), key=lambda group: group.problem.index)
    assert [(group.problem, group.prompt) for group in groups] == list(items())


def test_a_group_says_who_wrote_it_and_in_which_tokens(backend: Backend, groups: dict[str, Group]) -> None:
    assert backend.tokenizer is not None
    assert backend.tokenizer_fingerprint == tokenizer_fingerprint(backend.tokenizer)
    for group in groups.values():
        assert group.teacher == backend.teacher != ""
        assert group.tokenizer_fingerprint == backend.tokenizer_fingerprint
        assert group.entropy_kind == backend.entropy_kind


def test_notes_are_sentences_for_whoever_reads_the_data(backend: Backend, groups: dict[str, Group]) -> None:
    assert groups
    assert isinstance(backend.notes, tuple)
    assert all(len(note.split()) > 3 for note in backend.notes)


def test_a_group_is_whole_and_one_that_cannot_be_has_no_completions_and_no_error(groups: dict[str, Group]) -> None:
    sizes = {key: len(group.completions) for key, group in groups.items()}
    assert sizes == {"p0": NUM_COMPLETIONS, "p1": NUM_COMPLETIONS, "p2": NUM_COMPLETIONS, UNANSWERED: 0}
    assert {group.error for group in groups.values()} == {""}


def test_no_items_give_no_groups(backend: Backend) -> None:
    assert list(backend.sample([])) == []


def test_a_group_survives_being_stored(groups: dict[str, Group]) -> None:
    for group in groups.values():
        stored = row_to_group(group_to_row(group))
        assert stored.problem == group.problem
        assert stored.prompt == group.prompt
        for ours, theirs in zip(group.completions, stored.completions, strict=True):
            assert (ours.text, ours.token_ids, ours.num_tokens) == (theirs.text, theirs.token_ids, theirs.num_tokens)
            assert (ours.finish_reason, ours.seed) == (theirs.finish_reason, theirs.seed)


# --- completions


def test_completions_of_a_group_differ(groups: dict[str, Group]) -> None:
    assert all(len({c.text for c in group.completions}) > 1 for group in groups.values() if group.completions)


def test_per_token_lists_are_as_long_as_the_tokens(
    subject: Subject, backend: Backend, completions: list[Completion]
) -> None:
    for completion in completions:
        assert completion.num_tokens == len(completion.token_ids)
        assert completion.num_tokens or not completion.text
        for values in (completion.logprobs, completion.entropies):
            assert values is None or len(values) == completion.num_tokens
        assert (completion.logprobs is not None) == subject.has_logprobs
        assert all(logprob <= 0 for logprob in completion.logprobs or ())
        assert (completion.entropies is not None) == (backend.entropy_kind == "exact")


def test_an_end_token_is_the_last_of_a_stopped_completion_and_never_in_its_text(
    subject: Subject, completions: list[Completion]
) -> None:
    reasons, last = set(), set()
    for completion in completions:
        reasons.add(completion.finish_reason)
        stopped = completion.finish_reason == "stop"
        assert bool(subject.ends & set(completion.token_ids[-1:])) == stopped
        assert not subject.ends & set(completion.token_ids[:-1])
        text_ids = completion.token_ids[:-1] if stopped else completion.token_ids
        assert completion.text == tiny_tokenizer().decode(text_ids, skip_special_tokens=False)
        last.update(completion.token_ids[-1:] if stopped else ())
    assert {"stop", "length"} <= reasons
    assert len(last) > 1 or len(subject.ends) == 1


@those_that_sample
def test_a_completion_is_cut_at_the_limit(subject: Subject, completions: list[Completion]) -> None:
    for completion in completions:
        is_cut = completion.num_tokens == MAX_NEW_TOKENS and completion.token_ids[-1] not in subject.ends
        assert completion.num_tokens <= MAX_NEW_TOKENS
        assert completion.finish_reason == ("length" if is_cut else "stop")


@those_that_sample
def test_a_completion_is_cut_at_the_end_of_the_context(subject: Subject, backend: Backend) -> None:
    (group,) = backend.sample(tiny_items(["y" * (CONTEXT - 3)]))
    assert max(completion.num_tokens for completion in group.completions) == 3
    (group,) = backend.sample(tiny_items(["y" * (CONTEXT - 1)]))
    assert [completion.num_tokens for completion in group.completions] == [1] * NUM_COMPLETIONS


def test_a_prompt_that_opens_think_is_told_to_the_completion(backend: Backend, completions: list[Completion]) -> None:
    problem, prompt = next(tiny_items(["Why?"]))
    opened = Prompt((), "plain", prompt.text, prompt.token_ids, opens_think=True)
    (group,) = backend.sample([(problem, opened)])
    assert group.completions
    assert all(completion.think_opened for completion in group.completions)
    assert not any(completion.think_opened for completion in completions)


# --- flow


def test_progress_adds_up_to_all_tokens(backend: Backend) -> None:
    told: list[int] = []
    sampled = list(backend.sample(items(), told.append))
    assert sum(told) == sum(completion.num_tokens for group in sampled for completion in group.completions)
    assert min(told) >= 0


def test_items_are_read_as_places_become_free(backend: Backend) -> None:
    read: list[str] = []

    def watched() -> Iterator[tuple[Problem, Prompt]]:
        for problem, prompt in many(40):
            read.append(problem.id)
            yield problem, prompt

    sampled = backend.sample(watched())
    assert not read
    # every completion of the window may be the last one of its own group
    most_ahead = max(len(read) - received for received, _ in enumerate(sampled))
    assert 1 <= most_ahead <= GROUPS_IN_FLIGHT * NUM_COMPLETIONS + 1
    assert len(read) == 40


def test_sampling_again_gives_the_same_groups(backend: Backend, groups: dict[str, Group]) -> None:
    assert sample(backend) == groups


def test_what_goes_wrong_in_the_items_comes_out_and_the_backend_goes_on(
    backend: Backend, groups: dict[str, Group]
) -> None:
    def interrupted() -> Iterator[tuple[Problem, Prompt]]:
        yield from many(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(backend.sample(interrupted()))
    assert sample(backend) == groups


def test_sampling_that_is_given_up_leaves_nothing_behind(backend: Backend, groups: dict[str, Group]) -> None:
    sampled = cast("Generator[Group]", backend.sample(many(20)))
    next(sampled)
    sampled.close()
    assert sample(backend) == groups


# --- other options, for each of which a backend is opened anew


def test_completions_do_not_depend_on_what_else_is_in_flight(subject: Subject) -> None:
    def token_ids(backend: Backend, given: Iterable[tuple[Problem, Prompt]]) -> dict[str, list[tuple[int, ...]]]:
        return {group.problem.id: [c.token_ids for c in group.completions] for group in backend.sample(given)}

    few = token_ids(subject.open(), many(12))
    assert token_ids(subject.open(groups_in_flight=16), reversed(list(many(12)))) == few


def test_the_first_completions_do_not_change_with_their_number(subject: Subject, groups: dict[str, Group]) -> None:
    five = sample(subject.open(num_completions=5))
    assert len(five["p0"].completions) == 5
    for key, group in groups.items():
        first = five[key].completions[:NUM_COMPLETIONS]
        assert [(c.token_ids, c.seed) for c in first] == [(c.token_ids, c.seed) for c in group.completions]


@those_that_sample
def test_another_run_seed_gives_other_completions(subject: Subject, groups: dict[str, Group]) -> None:
    other = sample(subject.open(seed=6))
    for key in set(groups) - {UNANSWERED}:
        assert not {c.seed for c in groups[key].completions} & {c.seed for c in other[key].completions}
        assert [c.token_ids for c in groups[key].completions] != [c.token_ids for c in other[key].completions]


@those_with_weights
def test_log_probabilities_are_those_of_the_raw_distribution(subject: Subject, completions: list[Completion]) -> None:
    model: Any = load_model(str(subject.model), dtype="float32", device="cpu")
    num_tokens = 0
    for group in sample(subject.open(temperature=0.7, top_p=0.9)).values():  # neither changes them
        for completion in group.completions:
            assert completion.logprobs == pytest.approx(reread(model, group.prompt, completion), abs=1e-3)
            num_tokens += completion.num_tokens
    assert num_tokens > 50


def reread(model: Any, prompt: Prompt, completion: Completion) -> list[float]:
    """Log-probability of each token of the completion, from one pass without a cache."""
    ids = torch.tensor([[*prompt.token_ids, *completion.token_ids]])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(ids, use_cache=False).logits[0].double(), dim=-1)
    # the logits at position t are about token t + 1
    found = logprobs[len(prompt.token_ids) - 1 : -1].gather(1, torch.tensor(completion.token_ids)[:, None])
    return [float(value) for value in found[:, 0]]


@those_with_weights
def test_greedy_completions_are_all_the_same_and_have_no_seed(subject: Subject) -> None:
    told: list[int] = []
    (group,) = subject.open(temperature=0.0).sample(tiny_items(["What is 3 plus 4?"]), told.append)
    assert len(group.completions) == NUM_COMPLETIONS
    assert len({completion.token_ids for completion in group.completions}) == 1
    assert group.completions[0].seed is None
    assert sum(told) == sum(completion.num_tokens for completion in group.completions)


# --- the end


def test_a_new_backend_gives_the_same_groups_and_may_be_closed_twice(
    subject: Subject, groups: dict[str, Group]
) -> None:
    backend = subject.open_new()
    try:
        assert sample(backend) == groups
    finally:
        backend.close()
        backend.close()


def test_closing_in_the_middle_of_sampling_ends_all_processes_and_threads(subject: Subject) -> None:
    threads, children = set(threading.enumerate()), set(multiprocessing.active_children())
    backend = subject.open_new()
    sampled = cast("Generator[Group]", backend.sample(many(20)))
    next(sampled)
    backend.close()
    sampled.close()
    left = {thread for thread in threading.enumerate() if thread not in threads and thread.is_alive()}
    assert not left
    assert not set(multiprocessing.active_children()) - children
