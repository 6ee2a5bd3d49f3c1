r"""Answers of several parts: lists, sets, tuples and intervals, in the boxes and words that completions put them in."""

from __future__ import annotations

import pytest

from distill.verifiers import verify
from distill.verifiers.maths.math import verify_math


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{1}, \boxed{2}",
        r"\boxed{2} and \boxed{1}",
        r"$\boxed{1}$ \text{ and } $\boxed{2}$",
        r"x = \boxed{1} or x = \boxed{2}",
        r"\boxed{x=1} or \boxed{x=2}",
        r"\boxed{x=1 \text{ or } x=2}",
        r"\boxed{1 and 2}",
        r"\boxed{1;2}",
        r"\boxed{\{2,1\}}",
        r"\boxed{(1,2)}",
        r"\boxed{[1, 2]}",
        r"\boxed{1 apple and 2 pears}",
        r"\boxed{1.0, \frac{4}{2}}",
        r"\boxed{1, 2, 2}",
        "The answer is 1 and 2.",
        "The answers are 1 and 2.",
        "The answer is x = 1 or x = 2.",
        '{"answer": [1, 2]}',
    ],
)
def test_a_list_is_met_however_its_parts_are_written(text: str) -> None:
    assert verify(text, "1, 2").outcome == "correct"


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{1}",
        r"\boxed{2}",
        r"\boxed{12}",
        r"\boxed{1.2}",
        r"\boxed{1, 2, 3}",
        r"\boxed{1, 3}",
        r"First \boxed{1}. Much later, and for another reason, we find \boxed{2}.",
        "The answers are 1 and 3.",
    ],
)
def test_a_list_is_not_met_by_another(text: str) -> None:
    assert verify(text, "1, 2").outcome == "incorrect"


@pytest.mark.parametrize("text", [r"\boxed{1,2}", r"\boxed{\{1,2\}}", r"\boxed{x = 1 or x = 2}", r"\boxed{(1,2)}"])
def test_a_single_gold_is_not_met_by_a_list_that_holds_it(text: str) -> None:
    assert verify(text, "2").outcome == "incorrect"


@pytest.mark.parametrize("kind", ["math", "number"])
def test_boxes_with_or_between_them_offer_a_choice_and_state_nothing(kind: str) -> None:
    assert verify(r"\boxed{1} or \boxed{2}", "2", kind).outcome == "incorrect"
    assert verify(r"\boxed{2} or \boxed{2}", "2", kind).outcome == "correct"
    assert verify(r"\boxed{1}" + "\n\n" + r"\boxed{2}", "2", kind).outcome == "correct"


# c: correct, i: incorrect
CASES = r"""
    (1,2)                        (1.0, 2)                              c
    (1,2)                        1, 2                                  c
    (1,2)                        2, 1                                  i
    (1,2)                        (2,1)                                 i
    (1,2)                        [1,2]                                 i
    (1,2)                        [1,2)                                 i
    (1,2)                        \{1,2\}                               i
    (1,2)                        x=1, y=2                              c
    (1,2)                        x=2, y=1                              i
    (1,2)                        (x,y)=(1,2)                           c
    (1,2)                        (x, y) = (2, 1)                       i
    (1,2)                        \langle 1,2\rangle                    c
    (1,2)                        \begin{pmatrix}1\\2\end{pmatrix}      c
    (1,2)                        1<x<2                                 c
    (1,2)                        1 < x \le 2                           i
    (1,2)                        \{(1,2)\}                             c
    (1,2)                        (1,2),(3,4)                           i
    (1,2),(3,4)                  (3,4) \text{ and } (1,2)              c
    (1,2),(3,4)                  \{(1,2),(3,4)\}                       c
    (1,2),(3,4)                  (1,2),(4,3)                           i
    (1,2),(3,4)                  (1,2)                                 i
    (a,b)=(1,2)                  (1,2)                                 c
    (0,1,2)                      (0,2,1)                               i
    \{1,2\}                      2,1                                   c
    \{1,2\}                      (1,2)                                 i
    \{1,2\}                      [1,2]                                 i
    \{1,2,2\}                    \{1,2\}                               c
    \{2\}                        2                                     c
    \emptyset                    \{\}                                  c
    x \in \{1,2\}                2, 1                                  c
    x=1,2                        x=2,1                                 c
    a=1,b=2                      b=2, a=1                              c
    a=1,b=2                      a=2, b=1                              i
    a=1,b=2                      1, 2                                  c
    a=1,b=2                      2, 1                                  i
    a=\sqrt{2},b=x               x, \sqrt{2}                           i
    2,2,3                        3,2,2                                 c
    2,2,3                        2,3                                   i
    2,2,3                        2,3,3                                 i
    \pm 2                        2, -2                                 c
    \pm 2                        2                                     i
    2                            \pm 2                                 i
    1\pm\sqrt{2}                 1-\sqrt2, 1+\sqrt2                    c
    1,000, 2,000                 1000, 2000                            c
    1000, 2000                   1,000 \text{ and } 2,000              c
    1,000, 2,000                 0, 1, 2                               i
    100, 200                     100,200                               c
    \text{odd}, \text{even}      \text{even}, \text{odd}               c
    [1,2)                        [1,2)                                 c
    [1,2)                        [1,2[                                 c
    [1,2)                        1\le x<2                              c
    [1,2)                        x \in [1,2)                           c
    [1,2)                        (1,2]                                 i
    [1,2)                        [1,2]                                 i
    [1,2)                        1,2                                   i
    [1,2]                        \{x : 1\le x\le 2\}                   c
    [1,2]                        \{x \in \mathbb{R} \mid 1<x<2\}       i
    1\le x<2                     [1,2)                                 c
    x>3                          (3,\infty)                            c
    x>3                          3<x                                   c
    x>3                          x\ge 3                                i
    x>3                          3                                     i
    (3,\infty)                   x \geq 3                              i
    (-\infty,3]                  x \le 3                               c
    (-\infty,\infty)             \mathbb{R}                            c
    (-\infty,-1)\cup(1,\infty)   (1,\infty)\cup(-\infty,-1)            c
    (-\infty,-1)\cup(1,\infty)   ]-\infty,-1[ \cup ]1,\infty[          c
    (-\infty,-1)\cup(1,\infty)   x<-1 \text{ or } x>1                  c
    (-\infty,-1)\cup(1,\infty)   x<-1 \text{ or } x\ge1                i
    (-\infty,-1)\cup(1,\infty)   (-\infty,-1) \text{ and } (1,\infty)  c
    (-\infty,-1)\cup(1,\infty)   (1,\infty)                            i
    x\le-2 \text{ or } x\ge2     (-\infty,-2]\cup[2,\infty)            c
    x<1 \text{ or } x>2          x>2 \text{ or } x<1                   c
    (-\infty,1)\cup(1,\infty)    x \neq 1                              c
    (-\infty,1)\cup(1,\infty)    \mathbb{R}\setminus\{1\}              c
    [0,1]\cup\{3\}               [0,1]                                 i
"""


@pytest.mark.parametrize("case", CASES.strip().splitlines(), ids=str.split)
def test_sets_tuples_and_intervals_are_compared_as_what_they_are(case: str) -> None:
    gold, answer, expected = (part.strip() for part in case.strip().split("  ") if part.strip())
    verdict = verify_math(rf"\boxed{{{answer}}}", gold)
    assert verdict.outcome == {"c": "correct", "i": "incorrect"}[expected]
