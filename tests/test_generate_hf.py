"""The transformers backend: every token is the one that a plain loop would give, whatever shares its batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
import torch

from distill.config import SamplingConfig, TeacherConfig
from distill.errors import DistillError
from distill.generate import cache_rows
from distill.generate.base import BackendOptions, completion_seed
from distill.generate.decode import DecodeWindow, Request
from distill.generate.hf import HFBackend
from distill.generate.next_token import completion_uniforms, draw_tokens
from distill.models import end_token_ids
from distill.records import Completion, Group, Problem, Prompt
from tests.tiny import make_tiny_model, tiny_items, tiny_model, tiny_tokenizer

QUESTIONS = tuple(f"What is {n} plus {3 * n}? " * (1 + n % 3) for n in range(10))
TINY: dict[str, Any] = {
    "vocab_size": 264,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "eos_token_id": 2,
    "bos_token_id": None,
}


def backend(model: Any = None, *, groups_in_flight: int = 16, **sampling: Any) -> HFBackend:
    options = {"num_completions": 3, "temperature": 0.9, "max_new_tokens": 24, **sampling}
    return HFBackend(
        BackendOptions(
            TeacherConfig(model="tiny", groups_in_flight=groups_in_flight), SamplingConfig(**options), seed=5
        ),
        model=model or tiny_model(),
        tokenizer=tiny_tokenizer(),
    )


def sample(model: Any = None, questions: Iterable[str] = QUESTIONS, **options: Any) -> dict[str, Group]:
    return {group.problem.id: group for group in backend(model, **options).sample(tiny_items(questions))}


def token_ids(groups: dict[str, Group]) -> dict[str, list[tuple[int, ...]]]:
    return {key: [completion.token_ids for completion in groups[key].completions] for key in sorted(groups)}


def reread(model: Any, prompt: Prompt, completion: Completion) -> torch.Tensor:
    """Log-probabilities (T, V) of the distributions that emitted the completion, from one pass without a cache."""
    ids = torch.tensor([[*prompt.token_ids, *completion.token_ids]])
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits[0].float()
    # the logits at position t are about token t + 1
    return torch.log_softmax(logits[len(prompt.token_ids) - 1 : -1], dim=-1)


def largest_difference(model: Any, groups: Iterable[Group]) -> float:
    """Between the statistics taken while sampling and those of reading again, over all tokens."""
    worst = 0.0
    for group in groups:
        for completion in group.completions:
            assert completion.logprobs is not None
            assert completion.entropies is not None
            logprobs = reread(model, group.prompt, completion)
            entropies = -(logprobs.exp() * logprobs).sum(dim=-1)
            chosen = logprobs[torch.arange(len(logprobs)), torch.tensor(completion.token_ids)]
            worst = max(worst, float((chosen - torch.tensor(completion.logprobs)).abs().max()))
            worst = max(worst, float((entropies - torch.tensor(completion.entropies)).abs().max()))
    return worst


def plain_loop(model: Any, prompt: Prompt, seed: int, *, max_new_tokens: int, temperature: float) -> list[int]:
    """One completion by reading everything again for every token."""
    uniforms = completion_uniforms([seed], max_new_tokens)
    ids = list(prompt.token_ids)
    for step in range(max_new_tokens):
        with torch.no_grad():
            logits = model(torch.tensor([ids]), use_cache=False).logits[:, -1].float()
        ids.append(int(draw_tokens(logits, uniforms[:, step], temperature, 1.0)))
        if ids[-1] in end_token_ids(model, tiny_tokenizer()):
            break
    return ids[len(prompt.token_ids) :]


@pytest.mark.parametrize("temperature", [0.9, 0.0])
def test_completions_are_those_of_a_plain_loop_without_cache_or_batch(temperature: float) -> None:
    groups = sample(questions=QUESTIONS[:4], temperature=temperature, max_new_tokens=12)
    for group in groups.values():
        for index, completion in enumerate(group.completions):
            seed = completion_seed(5, group.problem.id, index)
            expected = plain_loop(tiny_model(), group.prompt, seed, max_new_tokens=12, temperature=temperature)
            assert list(completion.token_ids) == expected
            assert completion.seed == (seed if temperature else None)


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.0, "num_completions": 1}, {"top_p": 0.8}])
def test_tokens_do_not_depend_on_what_shares_the_batch(sampling: dict[str, Any]) -> None:
    alone = sample(groups_in_flight=1, **sampling)
    assert token_ids(sample(groups_in_flight=16, **sampling)) == token_ids(alone)
    assert token_ids(sample(groups_in_flight=3, **sampling)) == token_ids(alone)
    only_one = {group.problem.id: group for group in backend(**sampling).sample(list(tiny_items(QUESTIONS))[6:7])}
    assert token_ids(only_one)["p6"] == token_ids(alone)["p6"]


def test_completions_of_a_group_differ_and_the_first_ones_do_not_change_with_their_number() -> None:
    three, five = token_ids(sample()), token_ids(sample(num_completions=5))
    assert len(set(three["p0"])) == 3
    assert {key: ids[:3] for key, ids in five.items()} == three


def test_another_run_seed_gives_other_completions() -> None:
    options = BackendOptions(TeacherConfig(model="tiny"), SamplingConfig(num_completions=3, max_new_tokens=24), seed=6)
    other = HFBackend(options, model=tiny_model(), tokenizer=tiny_tokenizer())
    assert token_ids({g.problem.id: g for g in other.sample(tiny_items(QUESTIONS))}) != token_ids(sample())


def test_inline_statistics_are_those_of_reading_the_completion_again() -> None:
    groups = sample(temperature=0.7, top_p=0.9)  # neither changes the raw distribution
    assert largest_difference(tiny_model(), groups.values()) < 1e-4
    assert any(completion.num_tokens < 24 for group in groups.values() for completion in group.completions)


def test_entropies_are_left_out_when_they_are_not_wanted() -> None:
    options = BackendOptions(
        TeacherConfig(model="tiny"), SamplingConfig(num_completions=2, max_new_tokens=5), inline_entropies=False
    )
    plain = HFBackend(options, model=tiny_model(), tokenizer=tiny_tokenizer())
    (group,) = plain.sample(tiny_items(QUESTIONS[:1]))
    assert (plain.entropy_kind, group.entropy_kind) == ("none", "none")
    assert all(completion.entropies is None and completion.logprobs for completion in group.completions)


MODELS = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", TINY),
    # ALiBi: positions are counted in the attention mask
    "bloom": (
        "BloomForCausalLM",
        "BloomConfig",
        {"vocab_size": 264, "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3}
        | {"pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1},
    ),
    # learned positions: a position beyond the last one is an error
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"vocab_size": 264, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 80, "initializer_range": 0.3}
        | {"pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1},
    ),
    "one sliding layer": (
        "Qwen2ForCausalLM",
        "Qwen2Config",
        {**TINY, "use_sliding_window": True, "sliding_window": 10, "max_window_layers": 1},
    ),
    # a recurrent layer has no columns: new prompts wait until the window is empty
    "one recurrent layer": (
        "Qwen3NextForCausalLM",
        "Qwen3NextConfig",
        {**TINY, "head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8}
        | {"linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"], "num_experts": 2}
        | {"num_experts_per_tok": 1, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16},
    ),
}


def other_model(name: str) -> Any:
    import transformers

    model_class, config_class, values = MODELS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, model_class)(getattr(transformers, config_class)(**values)).float().eval()


@pytest.mark.parametrize("name", MODELS)
def test_models_of_other_kinds_are_decoded_with_the_right_positions(name: str) -> None:
    model = other_model(name)
    # prompts of three lengths, more of them than places, so that rows come, go and are padded
    groups = sample(model, groups_in_flight=4, num_completions=2, max_new_tokens=40)
    assert len(groups) == 10
    assert len({completion.num_tokens for group in groups.values() for completion in group.completions}) > 1
    assert largest_difference(model, groups.values()) < 5e-4


def test_a_model_without_key_value_cache_is_refused() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    model = MambaForCausalLM(MambaConfig(vocab_size=264, hidden_size=16, num_hidden_layers=1, state_size=4)).eval()
    with pytest.raises(DistillError, match="'mamba' keeps no key-value cache"):
        sample(model)


def test_finished_rows_leave_and_new_prompts_take_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    select = cache_rows._select

    def spy(rows: cache_rows.Rows, kept: torch.Tensor) -> cache_rows.Rows:
        fewer = select(rows, kept)
        shapes.append((len(fewer.running), fewer.mask.shape[1], fewer.cache.layers[0].keys.shape[2]))
        assert bool(fewer.mask.any(dim=0)[0]), "a column is kept in which every row is padding"
        return fewer

    monkeypatch.setattr(cache_rows, "_select", spy)
    monkeypatch.setattr("distill.generate.hf.ADMITTED_SHARE", 0.01)
    long_first = ("a" * 90, *("b" * n for n in range(1, 30)))
    groups = sample(questions=long_first, groups_in_flight=4, num_completions=2, max_new_tokens=40)
    assert len(groups) == 30
    assert min(rows for rows, _, _ in shapes) < 8
    assert all(columns == cached for _, columns, cached in shapes)
    assert min(columns for _, columns, _ in shapes) < 60  # the long prompt's columns are given back


def test_finished_rows_that_wait_to_be_dropped_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_rows, "FINISHED_SHARE", 0.9)  # they wait for as long as they can
    model = other_model("gpt2")
    model.generation_config.eos_token_id = None
    # the first runs to its limit of 30 tokens; the next six fill the context of 80 after 4 tokens, and then six take
    # their places and outlive the first
    questions = ("a" * 5, *("b" * 76 for _ in range(6)), *(f"{n}2345" for n in range(6)))
    groups = sample(model, questions, groups_in_flight=7, num_completions=1, max_new_tokens=30)
    assert [groups[f"p{n}"].completions[0].num_tokens for n in (0, 6, 12)] == [30, 4, 30]
    assert largest_difference(model, groups.values()) < 1e-4
    # one whose last position is the context's last, beside others that go on for long
    questions = ("a" * 79, *(f"{n}2345" for n in range(6)))
    assert len(sample(model, questions, groups_in_flight=7, num_completions=1, max_new_tokens=30)) == 7


def test_a_completion_stops_at_any_end_token_and_keeps_it_out_of_the_text() -> None:
    model = make_tiny_model()
    digits = [tiny_tokenizer()(str(digit), add_special_tokens=False)["input_ids"][0] for digit in range(10)]
    letters = list(range(60, 110))
    model.generation_config.eos_token_id = [*digits, *letters]
    ends = set(digits) | set(letters) | {tiny_tokenizer().eos_token_id}
    completions = [completion for group in sample(model).values() for completion in group.completions]
    assert {completion.finish_reason for completion in completions} == {"stop"}
    assert len({completion.token_ids[-1] for completion in completions}) > 2
    for completion in completions:
        assert completion.token_ids[-1] in ends
        assert not ends & set(completion.token_ids[:-1])
        assert completion.text == tiny_tokenizer().decode(completion.token_ids[:-1], skip_special_tokens=False)
        assert len(completion.token_ids) == len(completion.logprobs or ()) == len(completion.entropies or ())


def test_a_completion_that_reaches_the_limit_has_no_end_token() -> None:
    groups = sample(max_new_tokens=3)
    cut = [c for group in groups.values() for c in group.completions if c.finish_reason == "length"]
    assert cut
    assert all(c.num_tokens == 3 and tiny_tokenizer().eos_token_id not in c.token_ids for c in cut)


def test_special_tokens_stay_in_the_text() -> None:
    # without an output layer all logits are alike, and the first token, a special one, is the greedy choice
    model = make_tiny_model(tie_word_embeddings=False)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    (group,) = backend(model, temperature=0.0, num_completions=1, max_new_tokens=2).sample(tiny_items(["#"]))
    assert group.completions[0].text == "<|pad|><|pad|>"


def test_the_context_bounds_a_completion_and_a_prompt_that_fills_it_gets_none() -> None:
    model = make_tiny_model(max_position_embeddings=20)
    end = tiny_tokenizer().eos_token_id
    model.generation_config.eos_token_id = None
    groups = sample(model, questions=("a" * 15, "b" * 20, "c" * 19, "d" * 500), max_new_tokens=50)
    assert groups["p1"].completions == groups["p3"].completions == ()
    assert all(c.num_tokens <= 5 and (c.num_tokens == 5 or c.token_ids[-1] == end) for c in groups["p0"].completions)
    assert [c.num_tokens for c in groups["p2"].completions] == [1, 1, 1]


def test_ids_that_the_tokenizer_does_not_know_are_left_out_of_the_text() -> None:
    model = make_tiny_model(vocab_size=2000)  # mostly padding rows, as many a released model has
    completions = [completion for group in sample(model).values() for completion in group.completions]
    assert any(max(completion.token_ids) >= len(tiny_tokenizer()) for completion in completions)
    assert largest_difference(model, sample(model, questions=QUESTIONS[:2]).values()) < 1e-4


def test_items_are_read_only_as_places_become_free() -> None:
    read = []

    def watched() -> Iterator[tuple[Problem, Prompt]]:
        for problem, prompt in tiny_items("abcdefgh" * 4):
            read.append(problem.id)
            yield problem, prompt

    groups = backend(groups_in_flight=4).sample(watched())
    assert not read
    next(groups)
    assert 4 <= len(read) <= 12
    assert len(list(groups)) == 31


def test_prompts_are_read_together_only_up_to_a_number_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    admitted = []
    admit = DecodeWindow.admit

    def spy(window: DecodeWindow, requests: Sequence[Request]) -> None:
        admitted.append([len(request.prompt_ids) for request in requests])
        admit(window, requests)

    monkeypatch.setattr(DecodeWindow, "admit", spy)
    monkeypatch.setattr("distill.generate.hf.PREFILL_TOKENS", 60)
    groups = sample(questions=("a" * n for n in (10, 20, 20, 70, 1, 1, 1, 50)), groups_in_flight=8)
    assert len(groups) == 8
    # 3 * 20 is allowed, a prompt beyond the number is read alone, and 4 * 50 is too much
    assert admitted == [[10, 20, 20], [70], [1, 1, 1], [50]]


def test_progress_counts_every_token_once() -> None:
    told: list[int] = []
    groups = list(backend(groups_in_flight=2).sample(tiny_items(QUESTIONS), told.append))
    assert sum(told) == sum(completion.num_tokens for group in groups for completion in group.completions)
    assert len(told) > 24
    assert min(told) > 0


def test_the_consumer_is_not_left_in_inference_mode() -> None:
    for _ in backend().sample(tiny_items(QUESTIONS[:2])):
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()


def test_probabilities_that_are_not_finite_are_an_error() -> None:
    model = make_tiny_model()
    with torch.no_grad():
        model.model.norm.weight[0] = math.nan
    with pytest.raises(DistillError, match="no finite probabilities"):
        sample(model)


def test_a_prompt_without_tokens_is_an_error() -> None:
    items = [(Problem("p", "?", "1"), Prompt((), "plain", "?"))]
    with pytest.raises(DistillError, match="prompt of problem 'p' has no token ids"):
        list(backend().sample(items))
