r"""Verify the template of a completion, part by part: ``<think>...</think> <answer>...\boxed{...}...</answer>``."""

from __future__ import annotations

from distill.records import Outcome, Verdict
from distill.text_metrics import first_fault
from distill.verifiers.setting import Setting


def verify_format(text: str, gold: str = "", setting: Setting | None = None) -> Verdict:  # noqa: ARG001 - all alike
    r"""Judge only whether a completion keeps to the template; ``gold`` does not matter.

    The reason names the first part that is missing or repeated, in the order in which they should stand.
    ``text_metrics.first_fault`` lists them.

    >>> verify_format(r"<think>7-4=3</think><answer>\boxed{3}</answer>").outcome.value
    'correct'
    >>> verify_format(r"7-4=3 <answer>\boxed{3}</answer>").reason, verify_format("<think>3</think>").reason
    ('think_missing', 'answer_missing')
    """
    setting = setting or Setting()
    fault = first_fault(text, think_opened=setting.think_opened)
    return Verdict(Outcome.INCORRECT if fault else Outcome.CORRECT, reason=fault or "format", layer="format")
