"""Look for completions that break a reader: a coverage-guided search over extraction and the layers before the engine.

    pip install 'distill-reasoning[fuzz]'
    python benchmarks/fuzz_extraction.py --seconds 300 --corpus runs/fuzz

Every input is decoded into a completion out of fragments (tags, boxes, markers, LaTeX, digits, odd characters) and
judged as every kind of answer. What must hold: nothing is raised, the region and the answer stand in the text, the same
text gets the same verdict, and the time is linear, which is a budget per character, for the text as it is and repeated.
The engine is never started: it has a deadline of its own. A find is printed as a Python literal and ends the search;
put it into ``tests/hostile.py``. Inputs that reach new code stay in the corpus folder and begin the next search.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from functools import cache
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["distill.verifiers", "distill.text_metrics"]):
    from distill import text_metrics
    from distill.records import FinishReason, Outcome, Verdict
    from distill.registry import REGISTRY
    from distill.verifiers import judge
    from distill.verifiers.reading.extract import answer_region
    from distill.verifiers.setting import Setting
    from distill.verifiers.workers.engine import Engine, EngineReply

SECONDS_PER_CHARACTER = 20e-6  # instrumented code takes some ten times as long: 100,000 characters in 0.1 s without
SECONDS_AT_LEAST = 0.05
REPEATED_CHARACTERS = 20_000
REPEATED_SHARE = 16  # one input of so many is repeated as well, which takes as long as all the others
MAX_BYTES = 512
KINDS = tuple(kind for kind in REGISTRY["verifiers"] if kind not in {"code", "reasoning-gym"})
GOLDS = {"math": r"(1, \frac{1}{2})", "number": "18", "choice": "A", "text": "valid"}

Verdicts = dict[tuple[str, bool], Verdict]

# One byte each, beside the printable ones: the search moves among texts that a reader has rules for, and still finds
# the words that the code compares with.
FRAGMENTS = (
    "<think>", "</think>", "<answer>", "</answer>", r"\boxed{", r"\fbox{", "{", "}", "(", ")", "[", "]", r"\{", r"\}",
    "$", "$$", r"\(", r"\)", r"\[", r"\]", "####", "answer is ", "The final answer is ", "Answer:", "**Answer**", "A:",
    "\n", "\n\n", "Question: ", "Problem 2:", '{"answer": ', '"answer"', '"', "```json\n", "\\", "\\\\",
    r"\frac", r"\text{", r"\sqrt{", r"\begin{pmatrix}", r"\end{pmatrix}", "&", r"\cup ", r"\pm ", r"\%", "%", "^", "_",
    "=", "<", ">", r"\neq ", "0", "1", "12", "9999999", ".", ",", ",000", "e5", r"\times 10^{", "-", "+", "/", "*", "|",
    "!", ":", ";", " and ", " or ", "x", "A", "B", "(C)", "valid", "True", "dollars", " cm", " per day", "because ",
    "not ", "None", "ten ", " ", "  ", "\t", "\u00a0", "\u2212", "\u0663", "\uff11", "\u00b2", "\U0001d7d9", "\u221a",
    "\u00bd", "\u202e", "\u200b", "\x00", "\ud800", "<|im_end|>", "<\uff5cend\uff5c>", "</s>", "[INST]", "{0}", "%s",
    "so ", "so so so ", "I cannot help with that. ", "~", "`", "**", "'", "?", r"\infty ", r"\pi", r"^\circ", "_{2}",
)  # fmt: skip


class UnaskedEngine(Engine):
    """Stands where the engine would be asked, and cannot tell."""

    def compare(self, *_: object) -> EngineReply:
        return EngineReply(None, "timeout")


@cache
def settings() -> tuple[Setting, Setting]:
    """Strict with a source's own markers and options; flexible without."""
    engine = UnaskedEngine()
    return (
        Setting(options=("Rome", "Paris is nice"), markers=("A:", "So the answer is"), engine=engine),
        Setting(finish_reason="length", flexible=True, engine=engine),
    )


def completion_of(data: bytes) -> str:
    """The completion that some bytes stand for: printable ones themselves, the others one fragment each."""
    return "".join(
        chr(byte) if 32 <= byte < 127 else FRAGMENTS[(byte if byte < 32 else byte - 95) % len(FRAGMENTS)]
        for byte in data
    )


def check(data: bytes) -> None:
    """Every property of one input, as it is and repeated."""
    text = completion_of(data)
    check_region(text)
    assert_same(verdicts_on(text), verdicts_on(text), "judged twice")
    thinking = "The answer is \\boxed{7}."
    assert_same(
        verdicts_on("<think></think>" + text), verdicts_on(f"<think>{thinking}</think>{text}"), "with other thinking"
    )
    if zlib.crc32(data) % REPEATED_SHARE == 0:
        verdicts_on(text * (REPEATED_CHARACTERS // max(1, len(text))))
    for kind in KINDS:
        verdict_in_time(kind, r"So \boxed{18}.", text, settings()[0])
    for metric in (text_metrics.template_parts, text_metrics.repeated_phrases, text_metrics.ngram_repetition):
        metric(text)


def check_region(text: str) -> None:
    """There is a region, which is a part of the text, or a reason why there is none."""
    finish_reasons: tuple[FinishReason, ...] = ("stop", "length")
    for finish_reason in finish_reasons:
        for think_opened in (False, True):
            region = answer_region(text, finish_reason=finish_reason, think_opened=think_opened)
            assert region.text in text, "the region is no part of the text"
            assert bool(region.text) != bool(region.no_answer), "neither a region nor a reason, or both"


def assert_same(first: Verdicts, second: Verdicts, when: str) -> None:
    for case, verdict in first.items():
        is_about_thinking = case[0] == "format"
        assert verdict == second[case] or is_about_thinking, f"{case} differ {when}: {verdict} and {second[case]}"


def verdicts_on(text: str) -> Verdicts:
    """The verdict of every kind, strict and flexible."""
    return {
        (kind, setting.flexible): verdict_in_time(kind, text, GOLDS.get(kind, "18"), setting)
        for kind in KINDS
        for setting in settings()
    }


def verdict_in_time(kind: str, text: str, gold: str, setting: Setting) -> Verdict:
    """A verdict within the budget; the best of three times, since a machine may be busy with something else."""
    budget = SECONDS_AT_LEAST + SECONDS_PER_CHARACTER * (len(text) + len(gold))
    for _ in range(3):
        start = time.thread_time()
        verdict = judge.verify_with(kind, text, gold, setting)
        seconds = time.thread_time() - start
        if seconds <= budget:
            assert verdict.outcome in Outcome
            assert not verdict.reason.startswith("verifier_error"), verdict.reason
            return verdict
    raise AssertionError(f"'{kind}' took {seconds:.2f} s for {len(text)} characters and a gold of {len(gold)}")


def test_one_input(data: bytes) -> None:
    """Check one input; a find is printed as it can be pasted into a test."""
    try:
        check(data)
    except BaseException:
        print(f"\nfound: {completion_of(data)!a}", file=sys.stderr, flush=True)
        raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    given.corpus.mkdir(parents=True, exist_ok=True)
    limits = [
        f"-max_total_time={given.seconds}",
        f"-max_len={MAX_BYTES}",
        "-timeout=60",
        "-len_control=0",
        f"-seed={given.seed}",
    ]
    where = [f"-artifact_prefix={given.corpus}/found-", "-print_final_stats=1", str(given.corpus)]
    atheris.Setup([sys.argv[0], *limits, *where], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
