r"""Laws of mathematical verdicts: what must hold for every text, number and list, not only for the cases of a table."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.records import Verdict
from distill.verifiers.maths.math import verify_math
from distill.verifiers.maths.number import verify_number
from distill.verifiers.maths.results import read_result
from distill.verifiers.setting import Setting
from distill.verifiers.workers.engine import EngineOptions, EngineReply


class NoEngine:
    """Stands where the engine would, and cannot tell."""

    def compare(self, _gold: str, _answer: str | None, _options: EngineOptions) -> EngineReply:
        return EngineReply(None, "engine_error")


SETTING = Setting(markers=("A:",), engine=NoEngine())  # type: ignore[arg-type]
STATED = [
    (r"So it is \boxed{18}.", "18"),
    (r"So it is \boxed{18}.", "19"),
    ("<answer>1,234 dollars</answer>", "1234"),
    ('{"reasoning": "9 * 2", "answer": "18"}', "18"),
    ("That makes 9.\n#### 9", "9"),
    ("The answer is 3 or 4.", "3"),
    ("Nothing can be said about it here, as nobody knows anything.", "3"),
    (r"\boxed{1} and \boxed{2}", "2, 1"),
]
PLAIN_TEXT = st.text(st.characters(exclude_characters="<[{}\\$:#`", exclude_categories=["Cs"]), max_size=80)


@given(before=st.text(max_size=80))
@pytest.mark.parametrize(("text", "gold"), STATED)
def test_whatever_was_thought_before_changes_nothing(text: str, gold: str, before: str) -> None:
    for judge in (verify_math, verify_number):
        assert judge(f"{before}</think>{text}", gold, SETTING) == judge(text, gold, SETTING)


@given(before=PLAIN_TEXT)
@pytest.mark.parametrize(("text", "gold"), STATED[:5])
def test_plain_text_before_a_stated_answer_changes_nothing(text: str, gold: str, before: str) -> None:
    for judge in (verify_math, verify_number):
        assert judge(f"{before}\n{text}", gold, SETTING) == judge(text, gold, SETTING)


def in_box(answer: str, gold: str) -> Verdict:
    return verify_math(rf"\boxed{{{answer}}}", gold, SETTING)


@given(st.integers(-(10**12), 10**12), st.integers(0, 6), st.integers(-(10**12), 10**12))
def test_decimals_are_equal_when_their_values_are(digits: int, places: int, other: int) -> None:
    value, another = (Fraction(number, 10**places) for number in (digits, other))
    written = f"{'-' * (digits < 0)}{abs(digits) // 10**places:,}"
    if places:
        written += f".{abs(digits) % 10**places:0{places}d}"
    assert in_box(written, f"{digits}/{10**places}").outcome == "correct"
    assert in_box(written + "0" * bool(places), written).outcome == "correct"
    verdict = verify_number(f"A: {written}", f"{other}/{10**places}", SETTING)
    # Only a fraction without end is met by its rounding, and these all end.
    assert (verdict.outcome == "correct") == (value == another)


@given(st.lists(st.integers(-3, 12), min_size=2, max_size=5), st.lists(st.integers(-3, 12), min_size=2, max_size=5))
def test_lists_are_equal_as_sets_and_as_multisets_where_the_gold_repeats(gold: list[int], answer: list[int]) -> None:
    same_set = set(gold) == set(answer)
    repeats = len(set(gold)) < len(gold)
    expected = Counter(gold) == Counter(answer) if repeats else same_set
    verdict = in_box(" and ".join(map(str, answer)), ", ".join(map(str, gold)))
    assert (verdict.outcome == "correct") == expected
    assert (verdict.reason == "guard:multiset") == (same_set and not expected)


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=4), st.lists(st.integers(-3, 3), min_size=2, max_size=4))
def test_tuples_are_equal_part_by_part(gold: list[int], answer: list[int]) -> None:
    first, second = (f"({', '.join(map(str, parts))})" for parts in (gold, answer))
    assert (in_box(second, first).outcome == "correct") == (gold == answer)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(-3, 3))
def test_a_calculation_is_read_only_where_it_holds(first: int, second: int, slip: int) -> None:
    stated = first + second + slip
    result = read_result(f"Over both days he got {first} eggs + {second} eggs = {stated} eggs in all.")
    assert (None if result is None else result.number.value) == (stated if slip == 0 else None)
