"""Tell a completion that ends in a loop: the same phrase over and over, to the very end.

A model that loops has stopped thinking about its problem, and numbers or letters of the phrase are no answers.
What it had stated before the loop, or states in it, it has stated all the same: a loop takes away only
what is read loosely, and it is the reason where nothing is stated.

The bounds were chosen on 43,371 real completions. Of the 1,062 that end in such a loop, 1,031 state no answer; the 13
that state a right one are grids ('0 0 0 0'), or their phrase states it: 'The answer is (B).' over and over.
"""

from __future__ import annotations

MIN_ROUNDS = 4  # three equal lines are a style
MIN_CHARACTERS = 200  # and a long number or a small table may repeat itself
WINDOW = 20_000  # characters looked at, from the end: a phrase of up to 5,000

# Where a loop of 200 characters has four rounds or more, its last 50 characters stood there a round earlier.
TAIL = MIN_CHARACTERS // MIN_ROUNDS


def ends_in_loop(text: str) -> bool:
    """True when a text ends in at least four rounds of one phrase, at least 200 characters in all.

    The last round may be incomplete: a length limit ends a text anywhere. Linear in the length of the text.

    >>> ends_in_loop("Let us see. " + "We need to find x. " * 12), ends_in_loop("We need to find x. " * 12 + "It is 4.")
    (True, False)
    >>> ends_in_loop("No. " * 20)  # 80 characters
    False
    """
    window = text[-WINDOW:].rstrip()
    tail = window[-TAIL:]
    if len(window) < MIN_CHARACTERS or window.rfind(tail, 0, -1) < 0:
        return False
    return _has_periodic_prefix(window[::-1])


def _has_periodic_prefix(text: str) -> bool:
    """True when some prefix is long enough and has a short enough period, by the prefix function of Knuth et al.

    ``border[i]`` is the length of the longest proper prefix of ``text[:i + 1]`` that is its suffix too, so that
    ``i + 1 - border[i]`` is the smallest period of ``text[:i + 1]``.
    """
    border = [0] * len(text)
    length = 0
    for place in range(1, len(text)):
        while length and text[place] != text[length]:
            length = border[length - 1]
        if text[place] == text[length]:
            length += 1
        border[place] = length
        covered = place + 1
        if covered >= MIN_CHARACTERS and covered >= MIN_ROUNDS * (covered - length):
            return True
    return False
