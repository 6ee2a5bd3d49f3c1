"""maj@k: how often the answer that most of k completions give is the right one.

Self-consistency (arXiv:2203.11171), estimated as pass@k is: not from the one draw of k completions that was made
first, but as the mean over all sets of k among the n that there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import comb, fsum

from distill.records import Outcome


def majority_at_k(outcomes: Sequence[Outcome], answers: Sequence[str], k: int) -> float:
    """The chance that the right answer wins the vote of k completions drawn from these without replacement.

    Correct completions all vote for the right answer, however they write it; the others for theirs. Who gives no
    answer does not vote, nor does one that could not be verified. Answers with as many votes share the win.

    Args:
        answers: parallel to the outcomes; the same text for the same answer, empty for none.

    >>> right, wrong = Outcome.CORRECT, Outcome.INCORRECT
    >>> majority_at_k([right, right, wrong, wrong], ["4", "4", "5", "6"], 3)  # 2 of the 4 sets hold both, 2 a tie of 3
    0.6666666666666666

    Raises:
        ValueError: not 1 <= k <= number of completions.
    """
    if not 1 <= k <= len(outcomes):
        raise ValueError(f"maj@{k} of {len(outcomes)} completions is not defined")
    right = sum(outcome is Outcome.CORRECT for outcome in outcomes)
    wrong = Counter(
        answer for outcome, answer in zip(outcomes, answers, strict=True) if outcome is Outcome.INCORRECT and answer
    )
    silent = len(outcomes) - right - wrong.total()
    return _chance(right, tuple(sorted(wrong.values())), silent, k)


@lru_cache(maxsize=4096)
def _chance(right: int, wrong: tuple[int, ...], silent: int, k: int) -> float:
    """Sets of k in which no wrong answer has more votes than the right one, each tie shared, over all sets of k."""
    total = comb(right + sum(wrong) + silent, k)
    shares = []
    for votes in range(1, min(right, k) + 1):
        # Answers too rare to come level, like the silent, only fill the set up.
        rare = silent + sum(count for count in wrong if count < votes)
        ways: Counter[tuple[int, int]] = Counter({(votes, 0): comb(right, votes)})
        for count in (count for count in wrong if count >= votes):
            ways = _with_answer(ways, count, votes, k)
        for (drawn, ties), number in ways.items():
            shares.append(number * comb(rare, k - drawn) / ((ties + 1) * total))
    return fsum(shares)


def _with_answer(ways: Counter[tuple[int, int]], count: int, votes: int, k: int) -> Counter[tuple[int, int]]:
    """Ways to draw so many completions with so many ties, when up to ``votes`` of ``count`` more may be among them."""
    found: Counter[tuple[int, int]] = Counter()
    for (drawn, ties), number in ways.items():
        for of_answer in range(min(votes, k - drawn) + 1):
            found[drawn + of_answer, ties + (of_answer == votes)] += number * comb(count, of_answer)
    return found
