"""Rewards as open-r1 and TRL compute them: the cases of their own tests, and the options by hand."""

from __future__ import annotations

import json
from collections import Counter
from math import cos, pi
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.config import RewardPartConfig, RewardsConfig
from distill.curate.rewards import make_reward
from distill.errors import DistillError
from distill.records import Completion, Outcome, Verdict
from distill.registry import REGISTRY, load
from distill.verifiers import verify

CORRECT = Verdict(Outcome.CORRECT)
WRONG = Verdict(Outcome.INCORRECT)
UNVERIFIED = Verdict(Outcome.UNVERIFIED)


def published(kind: str, given: Any, params: dict[str, Any]) -> tuple[str, dict[str, Any], Completion, Verdict]:
    """One of their cases as ours: the part with its options, the completion and its verdict."""
    match kind:
        case "think_format":
            return "format", {"template": "trl"}, Completion(given), CORRECT
        case "think_answer_format":
            return "format", {"template": "open-r1"}, Completion(given), CORRECT
        case "repetition_words" | "repetition_tokens":
            options = {"n": params["ngram_size"], "max_penalty": params["max_penalty"], "unit": kind[11:]}
            is_words = kind == "repetition_words"
            return "repetition", options, Completion(given) if is_words else of_tokens(tuple(given)), CORRECT
        case "soft_overlong":
            options = {"max_tokens": params["max_completion_len"], "buffer": params["soft_punish_cache"]}
            return "overlong", options, Completion("", num_tokens=given["length_tokens"]), CORRECT
        case "cosine":
            verdict = CORRECT if given["correct"] else WRONG
            return (
                "cosine",
                cosine_options("open-r1", params),
                Completion("", num_tokens=given["length_tokens"]),
                verdict,
            )
        case "cosine_chars":
            verdict = verify(given["text"], given["gold"])
            return "cosine", cosine_options("open-r1-characters", params), Completion(given["text"]), verdict
        case "reasoning_accuracy":
            # Every gold there is meant as a number: 'forty two' is none, and no text either.
            return "reasoning_accuracy", {}, Completion(given["text"]), verify(given["text"], given["gold"], "number")
    raise AssertionError(kind)


def cosine_options(preset: str, params: dict[str, Any]) -> dict[str, Any]:
    """Their bounds are a minimum and a maximum; a wrong completion starts at its minimum."""
    return {
        "preset": preset,
        "max_tokens": params["max_len"],
        "correct": (params["max_value_correct"], params["min_value_correct"]),
        "wrong": (params["min_value_wrong"], params["max_value_wrong"]),
    }


def of_tokens(ids: tuple[int, ...]) -> Completion:
    return Completion("", ids, num_tokens=len(ids))


def test_all_published_cases_are_reproduced(shared_data):
    lines = (shared_data / "verify" / "reward_function_cases.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    for case in cases:
        part, options, completion, verdict = published(case["kind"], case["input"], case["params"])
        reward = load("rewards", part)(completion, verdict, **options)
        expected = case["expected"]
        assert reward == (None if expected is None else pytest.approx(expected, abs=case.get("tol", 0.0))), case
    assert Counter(case["impl"] for case in cases) == {"trl": 52, "open-r1": 26}


@pytest.mark.parametrize(
    ("text", "open_r1", "trl"),
    [
        ("<think>\n1\n</think>\n<answer>\n2\n</answer>", 1.0, 1.0),
        ("<think>\n1\n</think>\n<answer>\n2\n</answer>\nand more", 1.0, 1.0),  # their $ is the end of any line
        ("<think>\n1\n</think>\n<answer>\n2\n</answer> and more", 0.0, 1.0),
        ("<think>\n</think>\n<answer>\n2\n</answer>", 0.0, 1.0),  # one line break cannot end two lines
        ("<think>\n\n</think>\n<answer>\n\n</answer>", 1.0, 1.0),
        ("<think>\n1\n</think>\n<answer>\n</think>\n<answer>\n2\n</answer>", 1.0, 1.0),
        (" <think>\n1\n</think>\n<answer>\n2\n</answer>", 0.0, 0.0),
        ("<think>1</think><answer>\\boxed{2}</answer>", 0.0, 1.0),
        ("</think><think>", 0.0, 0.0),
    ],
)
def test_the_templates_of_others_by_hand(text, open_r1, trl):
    reward = load("rewards", "format")
    assert (reward(Completion(text), WRONG, template="open-r1"), reward(Completion(text), WRONG, template="trl")) == (
        open_r1,
        trl,
    )


BLOCKS = ("<think>\n", "\n</think>\n<answer>\n", "\n</answer>", "</think>\n", "\n", "x")


@given(st.lists(st.sampled_from(BLOCKS), max_size=8).map("".join))
def test_open_r1s_template_is_any_division_into_its_blocks(text):
    def stands(block: str, start: int) -> bool:
        return text.startswith(block, start)

    naive = stands(BLOCKS[0], 0) and any(
        stands(BLOCKS[1], middle) and stands(BLOCKS[2], end) and text[end + len(BLOCKS[2]) :][:1] in ("", "\n")
        for middle in range(len(BLOCKS[0]), len(text))
        for end in range(middle + len(BLOCKS[1]), len(text))
    )
    assert load("rewards", "format")(Completion(text), WRONG, template="open-r1") == naive


def test_open_r1_counts_characters_and_climbs_again_beyond_the_limit():
    def reward(length: int, verdict: Verdict) -> float:
        options = {"preset": "open-r1-characters", "max_tokens": 100}
        return load("rewards", "cosine")(Completion("x" * length, num_tokens=1), verdict, **options)

    assert reward(0, CORRECT) == reward(200, CORRECT) == 1.0
    assert reward(150, CORRECT) == pytest.approx(0.5 + 0.25 * (1 + cos(1.5 * pi)))  # 0.75
    assert reward(100, WRONG) == -0.5


def test_repetition_by_hand():
    reward = load("rewards", "repetition")
    # a b, b a, a b, b a: two of four pairs are new
    assert reward(Completion("A b a B a"), CORRECT, n=2) == -0.5
    assert reward(of_tokens((1, 2, 1, 2, 1)), CORRECT, n=2, max_penalty=-3.0, unit="tokens") == -1.5
    assert reward(Completion("", num_tokens=0), CORRECT, unit="tokens") == 0.0
    with pytest.raises(DistillError, match="token ids"):
        reward(Completion("no ids", num_tokens=2), CORRECT, unit="tokens")


def test_overlong_by_hand():
    def rewards(*lengths: int, buffer: int) -> list[float]:
        function = load("rewards", "overlong")
        return [function(Completion("", num_tokens=n), WRONG, max_tokens=100, buffer=buffer) for n in lengths]

    # 85 is 5 of 20 tokens into the buffer
    assert rewards(0, 80, 85, 100, 101, buffer=20) == [0.0, 0.0, -0.25, -1.0, -1.0]
    assert rewards(100, 101, buffer=0) == [0.0, -1.0]
    with pytest.raises(DistillError, match="number of tokens"):
        rewards(-1, buffer=20)


def test_a_recipe_can_name_every_reward():
    parts = {name: RewardPartConfig() for name in REGISTRY["rewards"]}
    result = make_reward(RewardsConfig(parts=parts))(
        Completion("<think>2 + 2</think><answer>\\boxed{4}</answer>", num_tokens=0), CORRECT
    )
    assert result.parts == {
        "cosine": 1.0, "format": 1.0, "accuracy": 1.0, "reasoning_accuracy": 1.0, "repetition": 0.0, "overlong": 0.0,
    }  # fmt: skip


def test_accuracy_by_hand():
    for name in ("accuracy", "reasoning_accuracy"):
        assert load("rewards", name)(Completion("</think> 4"), UNVERIFIED) is None
        assert load("rewards", name)(Completion("</think> 4"), WRONG) == 0.0
    without_thinking = Completion("It is 4.")
    assert load("rewards", "accuracy")(without_thinking, CORRECT) == 1.0
    assert load("rewards", "reasoning_accuracy")(without_thinking, CORRECT) == 0.0
