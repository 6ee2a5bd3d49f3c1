"""The parts of a reward that come with distill, and the ways of open-r1 and TRL to count the same things.

Each is a function ``(completion, verdict, **options) -> float | None`` and registered under its name; a part of one's
own is 'pkg.module:function'. What a name means elsewhere is an option, never the default where it has a known flaw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Literal

from distill.errors import DistillError
from distill.records import Completion, Outcome, Verdict
from distill.registry import did_you_mean
from distill.text_metrics import template_parts

END_THINK = "</think>"

Bounds = tuple[float, float]
"""The reward of a completion without tokens (r_0), and of one with ``max_tokens`` of them (r_L)."""


@dataclass(frozen=True, slots=True)
class CosinePreset:
    """Published values of the cosine reward."""

    correct: Bounds
    wrong: Bounds
    exceeded: float | None = None
    """What a completion gets, right or wrong, that comes within the margin of ``max_tokens``; None: no such rule."""
    in_characters: bool = False
    """L and lengths are characters, and beyond L the cosine climbs again."""


COSINE_PRESETS: dict[str, CosinePreset] = {
    # "penalises lengthy incorrect answers while rewarding concise correct ones": AdvDistill's words, the values open.
    "advdistill": CosinePreset(correct=(1.0, 0.5), wrong=(-0.5, -1.0)),
    # What the recipe of OPEN-RS runs, and the defaults of open-r1's function.
    "open-rs": CosinePreset(correct=(1.0, 0.5), wrong=(0.0, -0.5)),
    "open-r1": CosinePreset(correct=(1.0, 0.5), wrong=(-1.0, -0.5)),
    # What that function really computes, for figures that compare with its own.
    "open-r1-characters": CosinePreset(correct=(1.0, 0.5), wrong=(-1.0, -0.5), in_characters=True),
    # Yeo et al., arXiv:2502.03373.
    "yeo": CosinePreset(correct=(2.0, 1.0), wrong=(-10.0, 0.0), exceeded=-10.0),
}


def cosine_reward(
    completion: Completion,
    verdict: Verdict,
    *,
    preset: str = "advdistill",
    max_tokens: int = 2048,
    correct: Bounds | None = None,
    wrong: Bounds | None = None,
    margin: int = 16,
) -> float | None:
    r"""Reward a correct completion more when it is short, and punish a wrong one more when it is long.

    With l the completion's tokens, L = ``max_tokens``, r_0 the reward at length 0 and r_L the reward at L,

        R = r_L + (r_0 - r_L) / 2 * (1 + cos(pi * min(l, L) / L))

    from "Demystifying Long Chain-of-Thought" (arXiv:2502.03373). Beyond L the reward stays r_L: the bare
    cosine would climb again. Lengths are tokens, never characters, save for the preset 'open-r1-characters'.

    Args:
        completion: what is rewarded.
        verdict: decides between ``correct`` and ``wrong``; a completion without an answer is wrong.
        preset: where the bounds come from, see ``COSINE_PRESETS``; 'open-r1' and 'yeo' punish a long wrong
            completion less than a short one.
        max_tokens: L, the length at which the schedule ends.
        correct: (r_0, r_L) of a correct completion, in place of the preset's.
        wrong: (r_0, r_L) of a wrong one, in place of the preset's.
        margin: only for 'yeo': how many tokens before L a completion counts as having exceeded it.

    Returns:
        The reward, or None for an unverified completion.

    Raises:
        DistillError: unknown preset, or a completion whose tokens nobody counted.

    >>> half = Completion("...", token_ids=(7,) * 50)
    >>> cosine_reward(half, Verdict(Outcome.CORRECT), max_tokens=100)  # halfway from 1.0 to 0.5
    0.75
    >>> cosine_reward(half, Verdict(Outcome.NO_ANSWER), max_tokens=100)  # halfway from -0.5 to -1.0
    -0.75
    """
    if preset not in COSINE_PRESETS:
        raise DistillError(f"no cosine preset is called '{preset}'", hint=did_you_mean(preset, list(COSINE_PRESETS)))
    if max_tokens < 1:
        raise DistillError(
            f"the cosine reward needs 'max_tokens' of at least 1, not {max_tokens}", hint="2048 is usual"
        )
    if verdict.outcome is Outcome.UNVERIFIED:
        return None
    values = COSINE_PRESETS[preset]
    length = len(completion.text) if values.in_characters else min(_num_tokens(completion, "cosine"), max_tokens)
    if values.exceeded is not None and length >= max_tokens - margin:
        return values.exceeded
    own, published = (correct, values.correct) if verdict.outcome is Outcome.CORRECT else (wrong, values.wrong)
    start, end = own or published
    return end + 0.5 * (start - end) * (1.0 + cos(pi * length / max_tokens))


def overlong_reward(
    completion: Completion,
    verdict: Verdict,  # noqa: ARG001 - every part is asked the same way
    *,
    max_tokens: int = 2048,
    buffer: int = 512,
) -> float:
    """Punish a completion by how far it reaches into the last ``buffer`` tokens before ``max_tokens``: 0.0 to -1.0.

    DAPO (arXiv:2503.14476), equation 13; TRL's soft overlong punishment. Beyond ``max_tokens`` it stays -1.0.

    >>> verdict = Verdict(Outcome.CORRECT)
    >>> [overlong_reward(Completion("", num_tokens=n), verdict, max_tokens=100, buffer=20) for n in (80, 90, 110)]
    [0.0, -0.5, -1.0]
    """
    if not 0 <= buffer <= max_tokens:
        raise DistillError(
            f"the overlong reward needs a 'buffer' between 0 and its 'max_tokens' of {max_tokens}, not {buffer}",
            hint="a quarter of 'max_tokens' is usual",
        )
    excess = _num_tokens(completion, "overlong") - (max_tokens - buffer)
    if excess <= 0:
        return 0.0
    return -min(excess / buffer, 1.0) if buffer else -1.0


def accuracy_reward(completion: Completion, verdict: Verdict) -> float | None:  # noqa: ARG001
    """1.0 for a correct completion, else 0.0; None for an unverified one, as in TRL (in open-r1 1.0).

    >>> [accuracy_reward(Completion(""), Verdict(outcome)) for outcome in Outcome]
    [1.0, 0.0, 0.0, None]
    """
    return None if verdict.outcome is Outcome.UNVERIFIED else float(verdict.outcome is Outcome.CORRECT)


def reasoning_accuracy_reward(completion: Completion, verdict: Verdict) -> float | None:
    """As 'accuracy', but 0.0 for a completion whose thinking never ends, also where it states the right answer.

    TRL's function of this name: whoever leaves the thinking out gets nothing for the answer.

    >>> verdict = Verdict(Outcome.CORRECT)
    >>> [reasoning_accuracy_reward(Completion(text), verdict) for text in ("</think> It is 4.", "It is 4.")]
    [1.0, 0.0]
    """
    accuracy = accuracy_reward(completion, verdict)
    return accuracy if accuracy is None or END_THINK in completion.text else 0.0


def repetition_reward(
    completion: Completion,
    verdict: Verdict,  # noqa: ARG001
    *,
    n: int = 3,
    max_penalty: float = -1.0,
    unit: Literal["words", "tokens"] = "words",
) -> float:
    """Punish repeated phrases: ``max_penalty`` times the share of a completion's n-grams that stood in it before.

    "Demystifying Long Chain-of-Thought" (arXiv:2502.03373), appendix C.2. ``unit`` 'words' counts n-grams of words,
    whatever their case, as open-r1 does; 'tokens' those of token ids, as TRL does.

    Raises:
        DistillError: a bad option, or tokens that nobody recorded.

    >>> repetition_reward(Completion("No no no no no"), Verdict(Outcome.CORRECT), n=2)  # 1 of 4 pairs is new
    -0.75
    """
    if unit not in ("words", "tokens"):
        raise DistillError(f"the repetition reward counts no '{unit}'", hint=did_you_mean(unit, ["words", "tokens"]))
    if n < 1 or max_penalty > 0:
        raise DistillError(
            f"the repetition reward needs 'n' of at least 1 and no positive 'max_penalty', not {n} and {max_penalty}",
            hint="3 and -1.0 are usual",
        )
    if unit == "tokens" and not completion.token_ids and completion.num_tokens != 0:
        raise DistillError(
            "the repetition reward needs the token ids of every completion, and one has none",
            hint="'unit: words' needs none",
        )
    units: Sequence[Hashable] = completion.token_ids if unit == "tokens" else completion.text.lower().split()
    ngrams = list(zip(*(units[start:] for start in range(n)), strict=False))
    repeated = len(ngrams) - len(set(ngrams))
    return max_penalty * repeated / len(ngrams) if repeated else 0.0


def format_reward(completion: Completion, verdict: Verdict, *, template: str = "distill") -> float:  # noqa: ARG001
    r"""1.0 for a completion that keeps to a template, else 0.0; right or wrong does not matter.

    Args:
        completion: what is rewarded.
        verdict: not looked at.
        template: 'distill': reasoning in <think> and then an answer with a box in <answer>, each exactly once, where
            a <think> that the prompt had already opened counts as the completion's own. As two other functions have
            it, which read the text alone: 'open-r1': it begins with <think>, and every tag stands on a line of its
            own; 'trl': it begins with <think>, the only one, and thinking ends.

    Raises:
        DistillError: unknown template.

    >>> well_formed = Completion("<think>2 + 2 is 4</think><answer>\\boxed{4}</answer>")
    >>> [format_reward(well_formed, Verdict(Outcome.INCORRECT), template=name) for name in TEMPLATES]
    [1.0, 0.0, 1.0]
    """
    if template not in TEMPLATES:
        raise DistillError(
            f"no template of the format reward is called '{template}'", hint=did_you_mean(template, list(TEMPLATES))
        )
    return float(TEMPLATES[template](completion))


def _is_well_formed(completion: Completion) -> bool:
    return template_parts(completion.text, think_opened=completion.think_opened).well_formed


def _is_well_formed_for_open_r1(completion: Completion) -> bool:
    text = completion.text
    between = text.find(BETWEEN_BLOCKS, len(FIRST_LINE))  # the first one leaves most for what has to follow
    return text.startswith(FIRST_LINE) and between >= 0 and bool(LAST_LINE.search(text, between + len(BETWEEN_BLOCKS)))


def _is_well_formed_for_trl(completion: Completion) -> bool:
    begin, think, rest = completion.text.partition("<think>")
    return not begin and bool(think) and think not in rest and END_THINK in rest


FIRST_LINE = "<think>\n"
BETWEEN_BLOCKS = "\n</think>\n<answer>\n"
LAST_LINE = re.compile(r"\n</answer>$", re.MULTILINE)
TEMPLATES: dict[str, Callable[[Completion], bool]] = {
    "distill": _is_well_formed,
    "open-r1": _is_well_formed_for_open_r1,
    "trl": _is_well_formed_for_trl,
}


def _num_tokens(completion: Completion, part: str) -> int:
    if completion.num_tokens < 0:
        raise DistillError(
            f"the {part} reward needs the number of tokens of every completion, and one has none",
            hint="name the column with 'recorded.num_tokens', or a tokenizer that counts with 'recorded.tokenizer'",
        )
    return completion.num_tokens
