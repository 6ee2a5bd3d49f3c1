"""What an evaluation measures on judged completions.

Accuracy is the mean over problems of the mean score of a problem's completions (avg@N). A completion
that could not be verified counts as not correct, and is counted apart: the denominator is every problem.
Behaviour (length, repetition, template) follows "Evaluation" in docs/methods.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import comb, fsum

from distill.records import Completion, Outcome, Verdict
from distill.text_metrics import ngram_repetition, repeated_phrases, template_parts


@dataclass(frozen=True, slots=True)
class Means:
    """A mean over all completions, and over the correct and the incorrect ones apart; None where there is none.

    Incorrect are those judged and found wrong or without an answer. An unverified completion is
    neither, it counts in ``all`` only.
    """

    all: float | None
    correct: float | None
    incorrect: float | None


@dataclass(frozen=True, slots=True)
class TemplateAdherence:
    """Share of completions with each part of the template, and with all of them well formed."""

    think: float
    answer: float
    boxed: float
    well_formed: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """One judged completion, reduced to what the report is made of."""

    outcome: Outcome
    num_tokens: int
    """-1 where it is not known."""
    is_truncated: bool
    repeated_phrases: int
    ngram_repetition: float
    has_think: bool
    has_answer: bool
    has_boxed: bool
    is_well_formed: bool


def measure(completion: Completion, verdict: Verdict) -> Measurement:
    """Measure one completion; linear in the length of its text."""
    parts = template_parts(completion.text, think_opened=completion.think_opened)
    return Measurement(
        outcome=verdict.outcome,
        num_tokens=completion.num_tokens,
        is_truncated=completion.finish_reason == "length",
        repeated_phrases=repeated_phrases(completion.text),
        ngram_repetition=ngram_repetition(completion.text, n=3),
        has_think=parts.think,
        has_answer=parts.answer,
        has_boxed=parts.boxed,
        is_well_formed=parts.well_formed,
    )


def mean(values: Iterable[float]) -> float | None:
    """The mean, or None of nothing.

    >>> mean([1, 2, 6]), mean([])
    (3.0, None)
    """
    known = tuple(values)
    return fsum(known) / len(known) if known else None


def share(flags: Iterable[bool]) -> float:
    """How large a part is True; 0 of nothing.

    >>> share([True, False, False, True]), share([])
    (0.5, 0.0)
    """
    return mean(float(flag) for flag in flags) or 0.0


def means(measurements: Sequence[Measurement], value: Callable[[Measurement], float]) -> Means:
    """The mean of a value over all, correct and incorrect completions."""
    wrong = (Outcome.INCORRECT, Outcome.NO_ANSWER)
    return Means(
        all=mean(value(item) for item in measurements),
        correct=mean(value(item) for item in measurements if item.outcome is Outcome.CORRECT),
        incorrect=mean(value(item) for item in measurements if item.outcome in wrong),
    )


def mean_tokens(measurements: Sequence[Measurement]) -> Means:
    """The mean number of tokens, end token included, of the completions whose number is known."""
    return means([item for item in measurements if item.num_tokens >= 0], lambda item: item.num_tokens)


def verbosity_ratio(tokens: Means) -> float | None:
    """Mean tokens of incorrect over mean tokens of correct completions; None without either.

    >>> verbosity_ratio(Means(all=250.0, correct=200.0, incorrect=350.0))
    1.75
    """
    return tokens.incorrect / tokens.correct if tokens.incorrect is not None and tokens.correct else None


def template_adherence(measurements: Sequence[Measurement]) -> TemplateAdherence:
    """How many completions keep to the template."""
    return TemplateAdherence(
        think=share(item.has_think for item in measurements),
        answer=share(item.has_answer for item in measurements),
        boxed=share(item.has_boxed for item in measurements),
        well_formed=share(item.is_well_formed for item in measurements),
    )


def pass_at_k(num_completions: int, num_correct: int, k: int) -> float:
    """The chance that k completions drawn from these without replacement hold a correct one.

        pass@k = 1 - C(n - c, k) / C(n, k)

    The unbiased estimator of Chen et al. (arXiv:2107.03374), equation 1, in integers: one rounding at the end.

    >>> pass_at_k(4, 1, 2)  # 1 - C(3, 2) / C(4, 2) = 1 - 3/6
    0.5

    Raises:
        ValueError: not 0 <= num_correct <= num_completions, or not 1 <= k <= num_completions.
    """
    if not 0 <= num_correct <= num_completions or not 1 <= k <= num_completions:
        raise ValueError(f"pass@{k} of {num_correct} correct in {num_completions} completions is not defined")
    ways = comb(num_completions, k)
    return (ways - comb(num_completions - num_correct, k)) / ways


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4 ... up to the most: the k of pass@k.

    >>> powers_of_two(8), powers_of_two(6)
    ([1, 2, 4, 8], [1, 2, 4])
    """
    return [2**power for power in range(most.bit_length())]
