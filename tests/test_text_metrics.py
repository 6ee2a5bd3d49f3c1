"""Template parts and repetition."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.text_metrics import TemplateParts, ngram_repetition, repeated_phrases, template_parts


@pytest.mark.parametrize(
    ("text", "think_opened", "parts"),
    [
        (r"<think>a</think><answer>\boxed{3}</answer>", False, (True, True, True, True)),
        (r"<think>a</think> So: <answer>It is \boxed{\frac{1}{2}}.</answer> Done.", False, (True, True, True, True)),
        (r"a</think><answer>\boxed{3}</answer>", True, (True, True, True, True)),
        (r"a</think><answer>\boxed{3}</answer>", False, (False, True, True, False)),
        (r"<think>a</think><answer>\boxed{3}</answer>", True, (False, True, True, False)),  # opened twice
        (r"<think>a<think>b</think><answer>\boxed{3}</answer>", False, (False, True, True, False)),
        (r"<think>a</think></think><answer>\boxed{3}</answer>", False, (False, True, True, False)),
        (r"</think>a<think><answer>\boxed{3}</answer>", False, (False, True, True, False)),
        (r"<think>a</think><answer>\boxed{3}</answer><answer>4</answer>", False, (True, False, True, False)),
        (r"<think>a</think></answer>\boxed{3}<answer>", False, (True, False, True, False)),
        (r"<think>a</think><answer>\boxed{3</answer>", False, (True, True, False, False)),
        (r"<think>a</think><answer>3</answer>\boxed{3}", False, (True, True, True, False)),
        (r"<think>\boxed{3}</think><answer>3</answer>", False, (True, True, True, False)),
        (r"<answer>\boxed{3}</answer><think>a</think>", False, (True, True, True, False)),
        (r"<think>a<answer>\boxed{3}</answer></think>", False, (True, True, True, False)),
        (r"<think>a", False, (False, False, False, False)),
        ("", False, (False, False, False, False)),
        ("", True, (False, False, False, False)),
    ],
)
def test_every_tag_stands_once_in_order_and_the_box_inside_the_answer(
    text: str, think_opened: bool, parts: tuple[bool, bool, bool, bool]
) -> None:
    assert template_parts(text, think_opened=think_opened) == TemplateParts(*parts)


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("", 0),
        ("no", 0),
        ("no no", 0),
        ("no no no", 2),  # k = 3, so 2
        ("yes no no no no maybe", 3),  # k = 4
        ("a b a b", 0),
        ("a b a b a b", 2),  # 'a b' three times
        ("a b a b a b a", 2),  # and a half
        ("x a b c a b c a b c y", 2),
        ("a a a a a a", 5),  # six times 'a'; as three times 'a a' it is not counted again
        ("a a a b b b", 4),  # two runs
        ("so so so it is so so so it is so so so it is", 6),  # each 'so so so' counts 2; its words are spent
        ("a b a b a b c a b a b a b c a b a b a b c", 6),  # three runs of 'a b', each 2
        ("a a b a a b a a b", 2),  # 'a a' is too short a run, so the period of three counts
        (" ".join("abcdefghij" * 3), 2),  # a phrase of ten words
        (" ".join("abcdefghijk" * 3), 0),  # one of eleven is too long
        ("no  no\nno\tno", 3),  # words, whatever stands between
    ],
)
def test_runs_of_a_phrase_count_their_repetitions(text: str, repeats: int) -> None:
    assert repeated_phrases(text) == repeats


def naive_repeated_phrases(text: str) -> int:
    """The definition, word for word: periods in order, every maximal stretch of free words with that period."""
    words, spent, total = text.split(), set(), 0
    for period in range(1, 11):
        start = 0
        while start < len(words):
            end = start + 1
            while end < len(words) and (end < start + period or words[end] == words[end - period]):
                if not {start, end}.isdisjoint(spent):
                    break
                end += 1
            times = (end - start) // period
            if times >= 3 and spent.isdisjoint(range(start, end)):
                total += times - 1
                spent.update(range(start, end))
                start = end - period + 1
            else:
                start += 1
    return total


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_the_count_equals_a_naive_loop(words: list[str]) -> None:
    text = " ".join(words)
    assert repeated_phrases(text) == naive_repeated_phrases(text)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=30), st.integers(1, 4))
def test_ngram_repetition_is_one_minus_the_share_of_unique_phrases(words: list[str], n: int) -> None:
    phrases = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    expected = 1 - len(set(phrases)) / len(phrases) if phrases else 0.0
    assert ngram_repetition(" ".join(words), n) == expected


@pytest.mark.parametrize(
    "unit", ["a ", "a b ", "a b c d e f g h i j ", "x", "<think>", "<answer>", "\\boxed{", "\\", "{"]
)
def test_a_hundred_thousand_degenerate_characters_are_measured_at_once(unit: str) -> None:
    """Some 50 ms each, and minutes where something is quadratic: the bound is on CPU time, with much room."""
    text = unit * (100_000 // len(unit))
    started = time.process_time()
    template_parts(text)
    repeated_phrases(text)
    ngram_repetition(text)
    assert time.process_time() - started < 3.0
