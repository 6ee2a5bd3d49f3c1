"""Bounds of a token's entropy where only its k largest log-probabilities are known, as servers give them.

With p_1 >= ... >= p_k known, H_k = - sum p_i log p_i, and e = 1 - sum p_i left for the V - k other words, none
of which may exceed p_k: entropy is largest when e is spread evenly and smallest when it is piled up, so

    H_k + n p_k log(1 / p_k) + r log(1 / r)  <=  H  <=  H_k + e log((V - k) / e)

with n = floor(e / p_k) words as large as the k-th and r = e - n p_k left for one more. Both are attained, so
there are no tighter ones. Where a larger word may be missing from those that are told, the cap p_k becomes 1.
Cutting the tail off (H_k alone), or taking it for one word, is no bound but an error: it is largest at the tokens
where a reasoning forks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from distill.errors import DistillError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.floating[Any]]


# What rounding may add to a sum of probabilities whose logarithms were sent in half precision.
ROUNDING = 0.01


Told: TypeAlias = tuple[tuple[float, ...], float]
"""Log-probabilities of different words, descending, and one that no other word exceeds."""


@dataclass(frozen=True, slots=True)
class EntropyBounds:
    """Between what the entropies of T tokens lie, in nats."""

    lower: Values
    """(T,)"""
    upper: Values
    """(T,), nowhere below ``lower``."""


def told_of_token(logprobs: Sequence[float], sampled: float, top_k: int, *, distinct: bool) -> Told:
    """What is known of a token's distribution from an engine's list, whatever the engine does with the sampled token.

    It may stand beside the ``top_k`` largest, in the place of the last of them, or not at all. Where it is the smallest
    it is left out: nobody says that the words between it and the next larger one are listed.

    >>> told_of_token([-0.5, -1.5, -9.0], -9.0, 2, distinct=True)
    ((-0.5, -1.5), -1.5)
    >>> told_of_token([-0.5, -1.5], -0.5, 3, distinct=False)  # one is missing, which may have been any
    ((-0.5, -1.5), 0.0)

    Args:
        logprobs: of different words, in any order.
        sampled: that of the sampled token.
        distinct: False where words of the same text may have become one, as in a mapping from texts.
    """
    ordered = sorted(logprobs, reverse=True)
    last_is_sampled = bool(ordered) and ordered[-1] == sampled
    whole = len(ordered) >= top_k and (distinct or len(ordered) > top_k or not last_is_sampled)
    if not whole:
        return tuple(ordered), 0.0
    if last_is_sampled:
        ordered.pop()
    return tuple(ordered), ordered[-1] if ordered else 0.0


def bounds_of_tokens(told: Sequence[Told], vocabulary: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper bounds of the entropies of a completion's tokens, as they are stored.

    >>> bounds_of_tokens([((-0.6931472, -1.3862944), -1.3862944)], vocabulary=4)
    ((1.0390625,), (1.2138671875,))

    Raises:
        DistillError: the log-probabilities cannot be those of a distribution.
    """
    width = max(1, *(len(known) for known, _ in told)) if told else 0
    # a token with fewer gets words without probability; as many more words keep its upper bound one
    padded = [[*known, *[-float("inf")] * (width - len(known))] for known, _ in told]
    spare = width - min((len(known) for known, _ in told), default=0)
    bounds = stored_bounds(topk_entropy_bounds(padded, vocabulary + spare, [cap for _, cap in told]))
    return tuple(bounds.lower.tolist()), tuple(bounds.upper.tolist())


def topk_entropy_bounds(logprobs: npt.ArrayLike, vocabulary: int, caps: Sequence[float] | None = None) -> EntropyBounds:
    """The tightest bounds of the entropies of T tokens, from the k largest log-probabilities of each.

    >>> bounds = topk_entropy_bounds([[-0.6931472, -1.3862944]], vocabulary=4)  # 1/2, 1/4, and 1/4 for two words
    >>> [round(float(side[0]), 4) for side in (bounds.lower, bounds.upper)]  # 3/2 log 2 and 7/4 log 2
    [1.0397, 1.213]

    Args:
        logprobs: (T, k) natural logarithms at temperature 1, in any order; exactly the k largest of each token.
            A sampled token that some servers add from outside of these has to be left out: it would say that
            the rest is smaller than it is.
        vocabulary: V, how many words the model chooses from.
        caps: (T,) log-probabilities that no other word exceeds; None takes the smallest of each token.

    Raises:
        DistillError: no log-probabilities, more than words, or some that are together larger than one.
    """
    import numpy as np

    known = _known(logprobs, vocabulary)
    p = np.exp(known)
    others = vocabulary - known.shape[1]
    # without other words what is missing is rounding, and no tail
    tail = np.clip(1 - p.sum(axis=1), 0, None) * (others > 0)
    even = tail / max(others, 1)
    cap = p.min(axis=1) if caps is None else np.exp(np.asarray(caps, dtype=np.float64))
    largest = np.maximum(cap, np.finfo(np.float64).tiny)
    # an exact multiple may come out a hair too small to count as another whole word
    piles = np.minimum(np.floor(tail / largest + 1e-12), others)
    rest = np.clip(tail - piles * largest, 0, None)
    head = 0.0 - np.where(p > 0, p * known.clip(min=-1e4), 0).sum(axis=1)
    upper = head - tail * _log(even)
    lower = head - piles * largest * _log(largest) - rest * _log(rest)
    # rounded log-probabilities may leave more than the other words can hold at the size of the k-th
    return EntropyBounds(np.minimum(lower, upper), upper)


def stored_bounds(bounds: EntropyBounds) -> EntropyBounds:
    """The same in float16, rounded outwards, so that what is stored still encloses the entropy."""
    import numpy as np

    lower, upper = bounds.lower.astype(np.float16), bounds.upper.astype(np.float16)
    lower = np.where(lower > bounds.lower, np.nextafter(lower, np.float16(-np.inf)), lower)
    upper = np.where(upper < bounds.upper, np.nextafter(upper, np.float16(np.inf)), upper)
    return EntropyBounds(lower, upper)


def _known(logprobs: npt.ArrayLike, vocabulary: int) -> Values:
    """The log-probabilities as an array (T, k), once they can be what they should be."""
    import numpy as np

    try:
        known = np.asarray(logprobs, dtype=np.float64)
    except ValueError:
        raise DistillError(
            "tokens have different numbers of log-probabilities",
            hint="pass the k largest of each token, without a sampled token from outside of these",
        ) from None
    if known.size == 0:
        return known.reshape(0, 1)
    if known.ndim != 2 or known.shape[1] > vocabulary:
        raise DistillError(
            f"bounds need at most {vocabulary} log-probabilities of each token, found an array of shape {known.shape}",
            hint="pass a list of log-probabilities for every token, and the size of the model's vocabulary",
        )
    mass = np.exp(known).sum(axis=1)
    if not np.all(mass <= 1 + ROUNDING):  # what is not a number is no probability either
        raise DistillError(
            f"the {known.shape[1]} log-probabilities of a token make a probability of {mass.max():.3f}",
            hint="they have to be natural logarithms of the raw distribution, without temperature",
        )
    return known


def _log(values: Values) -> Values:
    """Natural logarithms, and 0 for 0: it stands beside a factor of 0."""
    import numpy as np

    return np.log(np.where(values > 0, values, 1.0))
