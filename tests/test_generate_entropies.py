"""Entropies of recorded tokens: the same numbers as while sampling, each token's own distribution."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.config import RecordedConfig, SamplingConfig, TeacherConfig
from distill.errors import DistillError
from distill.generate import open_backend
from distill.generate.entropies import read_together, score_entropies
from distill.models import load_tokenizer, tokenizer_fingerprint
from distill.records import Completion, Group, Problem, Prompt
from tests.tiny import save_tiny, tiny_items, tiny_model, tiny_tokenizer

SLIDING = {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1}
QUESTIONS = [f"What is {n} plus {3 * n}? " * (1 + n % 4) for n in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny(tmp_path_factory.mktemp("teacher")))


@pytest.fixture(scope="module")
def groups(folder: str) -> list[Group]:
    sampling = SamplingConfig(num_completions=3, temperature=0.8, max_new_tokens=30)
    teacher = TeacherConfig(model=folder, device="cpu", groups_in_flight=5)
    return list(open_backend(teacher, sampling, RecordedConfig(), 0).sample(tiny_items(QUESTIONS)))


def by_hand(token_ids: tuple[int, ...]) -> Group:
    problem, prompt = next(tiny_items(["2+2="]))
    fingerprint = tokenizer_fingerprint(tiny_tokenizer())
    return Group(problem, prompt, (Completion("", token_ids),), "someone", fingerprint)


@pytest.mark.parametrize("tokens_per_micro_batch", [1, 200, 16_384])
def test_a_second_pass_gives_what_was_measured_while_sampling(
    folder: str, groups: list[Group], tokens_per_micro_batch: int
) -> None:
    scored = list(score_entropies(groups, folder, device="cpu", tokens_per_micro_batch=tokens_per_micro_batch))
    assert [read.problem for read in scored] == [group.problem for group in groups]
    for group, read in zip(groups, scored, strict=True):
        for completion, again, entropy_again in zip(group.completions, read.logprobs, read.entropies, strict=True):
            assert again == pytest.approx(completion.logprobs, abs=1e-4)
            assert entropy_again == pytest.approx(completion.entropies, abs=1e-4)


def test_a_tokens_entropy_belongs_to_the_distribution_that_emitted_it(folder: str) -> None:
    group = by_hand(tuple(tiny_tokenizer()("4, for 2+2=4", add_special_tokens=False)["input_ids"]))
    (scored,) = score_entropies([group], folder, device="cpu")
    (logprobs,), (entropies,) = scored.logprobs, scored.entropies
    read = list(group.prompt.token_ids)
    for step, token_id in enumerate(group.completions[0].token_ids):
        # the model has read everything before the token, and not the token
        with torch.no_grad():
            probabilities = torch.softmax(tiny_model()(torch.tensor([read])).logits[0, -1].double(), dim=-1)
        entropy = -sum(p * p.log() for p in probabilities if p > 0)
        assert entropies[step] == pytest.approx(float(entropy), abs=1e-4)
        assert logprobs[step] == pytest.approx(float(probabilities[token_id].log()), abs=1e-4)
        read.append(token_id)


def test_completions_without_token_ids_get_nothing_and_keep_their_place(folder: str, groups: list[Group]) -> None:
    first, _, third = groups[0].completions
    mixed = replace(groups[0], completions=(first, Completion("text alone", num_tokens=2), third))
    nothing = replace(groups[1], completions=())
    read, empty = score_entropies([mixed, nothing], folder, device="cpu")
    assert [len(values) for values in read.logprobs] == [first.num_tokens, 0, third.num_tokens]
    assert [len(values) for values in read.entropies] == [first.num_tokens, 0, third.num_tokens]
    assert (empty.logprobs, empty.entropies, empty.mismatch) == ([], [], None)


@pytest.mark.parametrize("fingerprint", ["0123456789abcdef", ""])
def test_token_ids_of_another_tokenizer_are_refused(folder: str, fingerprint: str) -> None:
    foreign = replace(by_hand((40, 41)), tokenizer_fingerprint=fingerprint)
    with pytest.raises(DistillError, match=r"the token ids of problem 'p0' are of .*tokenizer"):
        list(score_entropies([foreign], folder, device="cpu"))


def test_a_prompt_without_token_ids_is_refused(folder: str) -> None:
    group = by_hand((40, 41))
    with pytest.raises(DistillError, match="the prompt of problem 'p0' has no token ids"):
        list(score_entropies([replace(group, prompt=replace(group.prompt, token_ids=()))], folder, device="cpu"))


def test_groups_are_read_as_they_are_needed(folder: str, groups: list[Group]) -> None:
    read = []

    def watched() -> Iterator[Group]:
        for group in groups:
            read.append(group.problem.id)
            yield group

    for number, _ in enumerate(score_entropies(watched(), folder, device="cpu"), start=1):
        assert number <= len(read) <= number + 1
    assert len(read) == len(groups)


def test_recorded_text_is_scored_with_the_tokenizer_that_encoded_it(folder: str, tmp_path: Path) -> None:
    path = tmp_path / "recorded.jsonl"
    path.write_text('{"id": "p0", "completions": ["4", "it is 4"], "finish_reasons": ["stop", "length"]}\n', "utf-8")
    recorded = RecordedConfig(path=str(path), tokenizer=folder)
    backend = open_backend(TeacherConfig(backend="recorded"), SamplingConfig(), recorded, 0)
    (read,) = score_entropies(backend.sample(tiny_items(["2+2="])), folder, device="cpu")
    backend.close()
    assert len(load_tokenizer(folder)) == len(tiny_tokenizer())
    assert read.mismatch is None
    assert [len(values) for values in read.logprobs] == [2, 7]  # '4' and the end token; the seven bytes of 'it is 4'


def copies(groups: list[Group], number: int) -> Iterator[Group]:
    for n in range(number):
        yield replace(groups[n % len(groups)], problem=replace(groups[0].problem, id=f"p{n}", index=n))


def test_memory_does_not_grow_with_the_number_of_groups(folder: str, groups: list[Group]) -> None:
    def alive(number: int) -> int:
        """The most groups that existed at once."""
        most = 0
        for read in score_entropies(copies(groups, number), folder, device="cpu", tokens_per_micro_batch=300):
            if read.problem.index % 10 == 9:  # looking at every object of the process takes its time
                most = max(most, sum(type(thing) is Group for thing in gc.get_objects()))
        return most

    assert alive(60) <= alive(20)


@pytest.mark.parametrize("name", ["packed", "rows"])
def test_values_are_those_of_float64_arithmetic(name: str, tmp_path: Path) -> None:
    from tests.packing_models import llama_model, mistral_model

    model: Any = {"packed": llama_model, "rows": mistral_model}[name]()
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    problem, prompt = next(tiny_items(["How many are 17 and 25?"]))
    texts = ["42", "17 and 25 are 42", "I think that 17 + 25 = 42, so the answer is 42."]
    completions = tuple(Completion(text, tuple(tiny_tokenizer()(text)["input_ids"])) for text in texts)
    group = Group(problem, prompt, completions, "someone", tokenizer_fingerprint(tiny_tokenizer()))
    (read,) = score_entropies([group], str(tmp_path), device="cpu")
    model.double()
    for completion, entropies in zip(completions, read.entropies, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt.token_ids, *completion.token_ids]])).logits[0]
        distributions = torch.softmax(logits[len(prompt.token_ids) - 1 : -1], dim=-1)
        assert entropies == pytest.approx(torch.special.entr(distributions).sum(dim=-1).tolist(), abs=1e-4)


@pytest.mark.parametrize("config", [{}, SLIDING], ids=["packed", "rows"])
def test_values_do_not_depend_on_the_other_groups_of_a_run(
    config: dict[str, Any], groups: list[Group], tmp_path: Path
) -> None:
    # so that a run that was interrupted and resumed writes the same dataset as one that was not
    other = str(save_tiny(tmp_path, **config))
    together = list(score_entropies(groups, other, device="cpu"))
    for number in (0, 5, 11):
        assert list(score_entropies(groups[number : number + 1], other, device="cpu")) == together[number : number + 1]


def test_a_model_that_cannot_read_packed_groups_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_tiny(tmp_path, **SLIDING)
    (read,) = score_entropies([by_hand((40, 41))], str(tmp_path), device="cpu")
    assert len(read.entropies[0]) == 2
    assert "reads the prompt again for each of its completions" in caplog.text
    assert "'sliding_attention'" in caplog.text


def test_bfloat16_weights_are_scored_as_they_are(folder: str, groups: list[Group]) -> None:
    scored = list(score_entropies(groups, folder, dtype="bfloat16", device="cpu"))
    exact = [entropy for group in groups for completion in group.completions for entropy in completion.entropies or ()]
    found = [entropy for read in scored for entropies in read.entropies for entropy in entropies]
    differences = torch.tensor(found) - torch.tensor(exact)
    assert 0 < float(differences.abs().mean()) < 0.05


# ---- groups that are read together


def group_of(number: int, prompt_tokens: int, lengths: list[int]) -> Group:
    completions = tuple(Completion("", tuple(range(length))) for length in lengths)
    return Group(Problem(f"p{number}", "", ""), Prompt((), "plain", "", tuple(range(prompt_tokens))), completions)


@given(st.lists(st.tuples(st.integers(1, 9), st.lists(st.integers(0, 12), max_size=5)), max_size=8), st.integers(0, 60))
def test_groups_are_read_in_their_order(shapes: list[tuple[int, list[int]]], budget: int) -> None:
    groups = [group_of(number, *shape) for number, shape in enumerate(shapes)]
    assert list(chain.from_iterable(read_together(groups, budget))) == groups


@pytest.mark.parametrize(("budget", "sizes"), [(0, [1] * 7), (9, [1] * 7), (25, [2, 2, 2, 1]), (70, [7])])
def test_as_many_groups_are_read_together_as_the_budget_holds(budget: int, sizes: list[int]) -> None:
    groups = [group_of(number, 4, [3, 3]) for number in range(7)]  # 10 tokens each
    assert [len(together) for together in read_together(groups, budget)] == sizes
