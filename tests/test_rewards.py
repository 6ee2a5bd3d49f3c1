"""Rewards: AdvDistill equations 2 and 3, published values, and the composite of a recipe."""

from __future__ import annotations

from math import cos, isnan, nan, pi

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.config import RewardPartConfig, RewardsConfig
from distill.curate.rewards import make_reward
from distill.curate.rewards_parts import COSINE_PRESETS, cosine_reward, format_reward
from distill.errors import DistillError
from distill.records import Completion, Outcome, Verdict

CORRECT = Verdict(Outcome.CORRECT)
WRONG = Verdict(Outcome.INCORRECT)
NO_ANSWER = Verdict(Outcome.NO_ANSWER)
UNVERIFIED = Verdict(Outcome.UNVERIFIED)
WELL_FORMED = "<think>2 + 2 is 4</think><answer>\\boxed{4}</answer>"


def of_length(num_tokens: int, text: str = "") -> Completion:
    return Completion(text, num_tokens=num_tokens)


def user_part(completion: Completion, verdict: Verdict, *, scale: float = 1.0) -> float | None:
    """A reward of a user's: None for an empty completion, nan for the text 'nan'."""
    if completion.text == "nan":
        return nan
    return scale * len(completion.text) if completion.text else None


def test_cosine_by_hand():
    # a quarter of the way: 0.5 + 0.25 * (1 + cos(pi / 4)) = 0.5 + 0.25 * 1.70711 = 0.92678
    assert cosine_reward(of_length(25), CORRECT, max_tokens=100) == pytest.approx(0.92678, abs=1e-5)
    # -1 + 0.25 * 1.70711 = -0.57322
    assert cosine_reward(of_length(25), WRONG, max_tokens=100) == pytest.approx(-0.57322, abs=1e-5)


@pytest.mark.parametrize("preset", ["advdistill", "open-rs", "open-r1"])
def test_cosine_starts_at_r0_ends_at_rl_and_stays_there(preset):
    values = COSINE_PRESETS[preset]
    for verdict, (start, end) in ((CORRECT, values.correct), (WRONG, values.wrong), (NO_ANSWER, values.wrong)):
        at = [cosine_reward(of_length(n), verdict, preset=preset, max_tokens=100) for n in (0, 100, 101, 200, 10**6)]
        assert at == [start, end, end, end, end]


PRESETS = {
    # correct, then wrong completions of 0, 1,024 and 2,048 tokens: the table of docs/methods.md, and halfway
    "advdistill": (1.0, 0.75, 0.5, -0.5, -0.75, -1.0),
    "open-rs": (1.0, 0.75, 0.5, 0.0, -0.25, -0.5),
    "open-r1": (1.0, 0.75, 0.5, -1.0, -0.75, -0.5),
    "open-r1-characters": (1.0, 1.0, 1.0, -1.0, -1.0, -1.0),  # of texts without a character
    "yeo": (2.0, 1.5, -10.0, -10.0, -5.0, -10.0),
}


@pytest.mark.parametrize("preset", COSINE_PRESETS)
def test_the_presets_are_the_published_values(preset):
    at = [cosine_reward(of_length(n), verdict, preset=preset) for verdict in (CORRECT, WRONG) for n in (0, 1024, 2048)]
    assert tuple(at) == PRESETS[preset]


@settings(deadline=None)
@given(st.sampled_from(sorted(COSINE_PRESETS)), st.booleans(), st.integers(0, 120), st.integers(0, 120))
def test_cosine_is_monotone_between_its_bounds(preset, correct, one, other):
    values = COSINE_PRESETS[preset]
    start, end = values.correct if correct else values.wrong
    margin = -1000 if preset == "yeo" else 16  # the schedule itself, without the rule for exceeding
    short, long = (
        cosine_reward(of_length(n), CORRECT if correct else WRONG, preset=preset, max_tokens=100, margin=margin)
        for n in sorted((one, other))
    )
    assert min(start, end) <= short <= max(start, end)
    assert (long - short) * (end - start) >= 0


def test_paper_preset_rewards_concise_right_answers_and_penalises_long_wrong_ones():
    concise, long = of_length(10), of_length(90)
    assert cosine_reward(concise, CORRECT, max_tokens=100) > cosine_reward(long, CORRECT, max_tokens=100)
    assert cosine_reward(concise, WRONG, max_tokens=100) > cosine_reward(long, WRONG, max_tokens=100)


def test_yeo_punishes_whatever_comes_within_the_margin_of_the_limit():
    def reward(num_tokens: int, verdict: Verdict) -> float | None:
        return cosine_reward(of_length(num_tokens), verdict, preset="yeo", max_tokens=100)

    assert [reward(0, CORRECT), reward(0, WRONG)] == [2.0, -10.0]
    # 83 of 100 tokens: -5 * (1 + cos(0.83 pi))
    assert reward(83, WRONG) == pytest.approx(-5 * (1 + cos(0.83 * pi)), abs=1e-12)
    assert [reward(n, verdict) for n in (84, 100, 500) for verdict in (CORRECT, WRONG)] == [-10.0] * 6


def test_cosine_counts_tokens_and_not_characters():
    many_characters = Completion("x" * 5000, token_ids=(7,) * 50)
    assert cosine_reward(many_characters, CORRECT, max_tokens=100) == 0.75


def test_cosine_without_a_token_count_says_what_to_do():
    with pytest.raises(DistillError, match="number of tokens") as caught:
        cosine_reward(Completion("4"), CORRECT)
    assert "recorded.tokenizer" in caught.value.hint


def test_an_unverified_completion_has_no_cosine_reward():
    assert cosine_reward(of_length(5), UNVERIFIED) is None


def test_format_counts_the_think_that_the_prompt_opened():
    without_tag = WELL_FORMED.removeprefix("<think>")
    assert format_reward(Completion(WELL_FORMED), WRONG) == 1.0
    assert format_reward(Completion(without_tag), CORRECT) == 0.0
    assert format_reward(Completion(without_tag, think_opened=True), CORRECT) == 1.0


def test_default_reward_is_twice_cosine_plus_format():
    reward = make_reward(RewardsConfig())
    # wrong at half of 2048: 2 * -0.75 + 1 * 1 = -0.5
    result = reward(of_length(1024, WELL_FORMED), WRONG)
    assert dict(result.parts) == pytest.approx({"cosine": -0.75, "format": 1.0})
    assert result.total == pytest.approx(-0.5)


def test_an_unverified_completion_keeps_its_parts_and_has_no_total():
    result = make_reward(RewardsConfig())(of_length(9, WELL_FORMED), UNVERIFIED)
    assert result.parts == {"cosine": None, "format": 1.0}
    assert result.total is None


def test_a_part_that_does_not_apply_is_left_out_of_the_sum():
    parts = {
        "mine": RewardPartConfig(weight=0.5, function="tests.test_rewards:user_part", options={"scale": 4.0}),
        "format": RewardPartConfig(weight=10.0),
    }
    reward = make_reward(RewardsConfig(parts=parts))
    assert reward(Completion("abc"), CORRECT).total == 6.0  # 0.5 * 4 * 3 + 10 * 0
    assert reward(Completion(""), CORRECT).total == 0.0
    only_mine = make_reward(RewardsConfig(parts={"mine": parts["mine"]}))
    assert only_mine(Completion(""), CORRECT).total is None


def test_a_part_that_is_no_number_stops_the_run():
    reward = make_reward(RewardsConfig(parts={"mine": RewardPartConfig(function="tests.test_rewards:user_part")}))
    assert isnan(user_part(Completion("nan"), CORRECT) or 0.0)
    with pytest.raises(DistillError, match="'mine' returned nan"):
        reward(Completion("nan"), CORRECT)


@pytest.mark.parametrize(
    ("part", "message", "hint"),
    [
        (
            {"options": {"max_token": 9}},
            "no option 'rewards.parts.cosine.options.max_token'",
            "did you mean 'max_tokens'?",
        ),
        ({"options": {"preset": "openrs"}}, "no cosine preset is called 'openrs'", "did you mean 'open-rs'?"),
        ({"options": {"max_tokens": 0}}, "at least 1", ""),
        ({"options": {"max_tokens": "many"}}, "rewards.parts.cosine.options", ""),
        ({"options": {"wrong": [1.0]}}, "rewards.parts.cosine.options", ""),
        ({"function": "format", "options": {"preset": "yeo"}}, "no option", "known: template"),
        ({"function": "accuracy", "options": {"preset": "yeo"}}, "no option", "it takes no options"),
        ({"function": "format", "options": {"template": "openr1"}}, "no template", "did you mean 'open-r1'?"),
        ({"function": "repetition", "options": {"unit": "letters"}}, "counts no 'letters'", "known: words, tokens"),
        ({"function": "repetition", "options": {"max_penalty": 1.0}}, "no positive 'max_penalty'", "-1.0"),
        ({"function": "overlong", "options": {"buffer": 4096}}, "'buffer' between 0 and", "a quarter"),
        ({"function": "cosin"}, "no reward is called 'cosin'", "did you mean 'cosine'?"),
    ],
)
def test_a_wrong_reward_is_refused_before_the_run(part, message, hint):
    with pytest.raises(DistillError) as caught:
        make_reward(RewardsConfig(parts={"cosine": RewardPartConfig(**part)}))
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_a_reward_without_parts_is_refused():
    with pytest.raises(DistillError, match="is empty"):
        make_reward(RewardsConfig(parts={}))
