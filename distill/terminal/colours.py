"""The colours of outcomes and entropies: told apart by every kind of colour vision, on dark and on light ground.

Each has a luminance near the middle, so that it stands out from black and from white alike; and nothing is said by
colour alone: an outcome has a sign, a bar has a label.
"""

from __future__ import annotations

from distill.records import Outcome

BLUE, ORANGE, GOLD, PURPLE, GREY = "#1878c8", "#c45a10", "#8c7000", "#9060c0", "#808080"
OUTCOME_STYLE = {
    Outcome.CORRECT: BLUE,
    Outcome.INCORRECT: ORANGE,
    Outcome.NO_ANSWER: GOLD,
    Outcome.UNVERIFIED: PURPLE,
}
OUTCOME_SIGN = {Outcome.CORRECT: "✓", Outcome.INCORRECT: "✗", Outcome.NO_ANSWER: "∅", Outcome.UNVERIFIED: "?"}
ENTROPY_STYLES = (
    (0.25, ""),
    (0.7, "#000000 on #fde9b8"),
    (1.4, "#000000 on #f8bd63"),
    (2.1, "#000000 on #e8863a"),
    (float("inf"), "#ffffff on #a8320a"),
)
"""Entropies below so many nats -> style; paper to dark orange, with a text that can be read on each."""


def entropy_style(nats: float) -> str:
    """How a token of this entropy is drawn.

    >>> entropy_style(0.1), entropy_style(1.0)
    ('', '#000000 on #f8bd63')
    """
    return next((style for limit, style in ENTROPY_STYLES if nats < limit), "")
