r"""The statements of a region: where it says what its answer is, tier by tier.

    json      the last JSON object with a key 'answer', when the text is or holds such an object
    boxed     the last complete \boxed{}; the last run of boxes, as a list, for a gold of several parts, or where
              'or' stands between different boxes
    marker    what follows '####', 'final answer is', 'answer is', 'Answer:' or a marker of the source's own
    tagged    the region is what stands inside <answer>, and states nothing else
    bare      the region is nothing but an answer
    loose     the last maths segment or number: counts for the flexible score only

The object or the box wins, unless a 'final answer is' that itself holds a number or maths stands after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from distill.verifiers.reading.boxes import are_alternatives, complete_boxes, last_run
from distill.verifiers.reading.extract import Region

MAX_STATEMENT_CHARACTERS = 2_500  # a little more than an answer may have, so that a longer one shows
MAX_CANDIDATES = 20  # statements looked at, from the last one back
MAX_OBJECTS = 8  # opening braces tried as the start of the JSON object

FINAL = r"(?i:final\s+answers?\s+(?:is|are))"
ANSWER_IS = r"(?i:answers?\s+(?:to\s[^\n.]{1,80}\s)?(?:is|are)|\banswer\\?[\"*_)]{0,3}\s{0,2}[:：])"
# '####' begins a Markdown heading as well: 'Step 2', '1. First'.
# A heading states what stands below it, when that is one line, and the last.
HEADING = r"(?:^|(?<=\n))[#*_ \t]{0,9}(?i:final\s+answer)[*_:： \t]{0,6}\n(?=\s{0,4}[^\n]{1,300}\s{0,9}\Z)"
STATED = (
    rf"{ANSWER_IS}|{HEADING}"
    r"|####(?![ \t]*(?:\d+[.):][ \t]+\S|\**(?!(?i:none|unknown|undefined|cannot|not)\b)[A-Za-z]{2}))"
)
MATHS = re.compile(r"\d|\\[A-Za-z(\[]|\$|[=<>^√π∞]|(?<![A-Za-z'’])[A-Za-z](?![A-Za-z'’])")
NO_NUMBER = re.compile(
    r"(?:an? |the )?(?:undefined|infinit\w+|none|nothing|impossible|unknown|no\b|not\b|cannot|can't|empty)", re.I
)
DISPLAY = ((r"\[", r"\]"), ("$$", "$$"), (r"\begin{", r"\end{"))
SENTENCE_TOKEN = re.compile(  # first maths, in which no sentence ends; '$5 to $6' is none
    r"\$(?:[^$\n]{0,400}[^$\s])?\$(?!\d)|\\\((?:[^\\\n]|\\(?![()])){0,400}\\\)"
    r"|(?P<end>\.(?=[\s*\"'”)]|$)|,[ \t]{1,3}as\b|[,;]?[ \t]{1,3}(?:because|since|where|which|so that|as shown)\b)"
)
QUOTED = re.compile(r"\\?\"((?:[^\"\\\n]|\\(?!\"))*)\\?\"")
# JSON turns the \f of \frac into a form feed; nobody means a control character in an answer.
SWALLOWED = re.compile(r"[\x08\x0c]|[\t\r\n](?=imes|ext|frac|heta|au\b|an\b|ight|ho\b|eq\b|abla)")
CONTROL = {"\x08": r"\b", "\x0c": r"\f", "\t": r"\t", "\r": r"\r", "\n": r"\n"}
DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, strict=False)
SKIPPED = re.compile(r"[\s:：*_]*")
FINAL_PATTERN = re.compile(FINAL)


@dataclass(frozen=True, slots=True)
class Statement:
    """An answer as the completion states it, and the tier it was found in."""

    answer: str
    tier: str


def math_statement(region: Region, markers: tuple[str, ...], *, in_parts: bool, in_words: bool) -> Statement | None:
    """What the region states as its answer to a problem whose gold is a number or maths.

    Args:
        markers: the source's own, such as 'A:'.
        in_parts: the gold has several parts, so that adjacent boxes make one answer.
        in_words: the gold is words, so that an answer without a number or maths is one.
    """
    text = region.text
    found, end = None, 0
    stated = json_answer(text)
    if stated is not None:
        found, end = Statement(stated[0], "json"), stated[1]
    elif boxes := complete_boxes(text):
        run = last_run(text, boxes)
        run = run if in_parts or are_alternatives(text, run) else run[-1:]
        found, end = Statement(", ".join(box.content.strip() for box in run), "boxed"), boxes[-1].end
    if found is not None and not any(map(MATHS.search, marked_statements(text, FINAL_PATTERN, region.truncated, end))):
        return found
    for answer in marked_statements(text, _pattern_for(text, markers), region.truncated, end):
        if in_words or states_maths(answer):
            return Statement(answer, "marker")
    return found


def states_maths(answer: str) -> bool:
    """True when a marked statement can answer a question for a number: 'I hope the answer is helpful' cannot."""
    return bool(MATHS.search(answer) or NO_NUMBER.match(answer))


def _pattern_for(text: str, markers: tuple[str, ...]) -> re.Pattern[str] | None:
    """The markers that a text can hold: looking for a word first is cheaper than trying every pattern everywhere."""
    if "answer" in text.lower() or "####" in text:
        return marker_pattern(markers)
    return marker_pattern(markers, general="") if any(markers) else None


@lru_cache(maxsize=64)
def marker_pattern(markers: tuple[str, ...] = (), general: str = f"{FINAL}|{STATED}") -> re.Pattern[str]:
    """The general markers and a source's own, as one pattern; a marker that begins with a letter begins a word.

    That is looked at behind the marker: a pattern that begins with plain text is found several times faster.
    """
    own = [re.escape(marker) for marker in markers if marker]
    own = [rf"{marker}(?<!\w{marker})" if marker[0].isalnum() else marker for marker in own]
    return re.compile("|".join([*own, general] if general else own))


def marked_statements(text: str, pattern: re.Pattern[str] | None, truncated: bool, start: int = 0) -> Iterator[str]:
    """What follows each marker, from the last one back; nothing that a length limit may have cut short.

    >>> list(marked_statements("The answer is 4. No: the answer is $5$. I hope so.", marker_pattern(), False))
    ['$5$', '4']
    """
    ends = [match.end() for match in pattern.finditer(text, start)] if pattern else []
    for end in reversed(ends[-MAX_CANDIDATES:]):
        answer, reaches_end = _stated_after(text, end)
        if answer and not (truncated and reaches_end):
            yield answer


def _stated_after(text: str, start: int) -> tuple[str, bool]:
    """The answer after a marker, and whether it runs to the very end of the text."""
    skipped = SKIPPED.match(text, start)
    begin = skipped.end() if skipped else start
    for opening, closing in DISPLAY:
        if text.startswith(opening, begin):
            end = text.find(closing, begin + len(opening), begin + MAX_STATEMENT_CHARACTERS)
            if end >= 0:
                end = text.find("\n", end + len(closing))
                return first_sentence(text[begin : end if end >= 0 else len(text)]), False
    quoted = QUOTED.match(text, begin, begin + MAX_STATEMENT_CHARACTERS)
    if quoted:
        return quoted[1].strip(), False
    end = text.find("\n", begin)
    end = len(text) if end < 0 else end
    line = text[begin : min(end, begin + MAX_STATEMENT_CHARACTERS)]
    answer = first_sentence(line)
    return answer, end == len(text) and len(answer) >= len(line.rstrip())


def first_sentence(line: str) -> str:
    """A line up to the end of its first sentence, or to the word that begins a reason.

    >>> first_sentence("$x = 2.5$ feet, because it grew. So"), first_sentence("18 dollars. I hope")
    ('$x = 2.5$ feet', '18 dollars')
    """
    for token in SENTENCE_TOKEN.finditer(line):
        if token["end"] is not None:
            line = line[: token.start()]
            break
    return line.strip().rstrip(",;").strip("*_").strip()


def json_answer(text: str) -> tuple[str, int] | None:
    r"""The value of 'answer' in the last JSON object that has one, as it is written, and where the object ends.

    The items of a list are parted by commas.

    >>> json_answer('Here it is:\n```json\n{"reasoning": "9 * 2", "answer": 18.00}\n```')
    ('18.00', 59)
    >>> json_answer('{"answer": "\\frac{1}{2}"}'), json_answer('{"answer": 1')
    (('\\frac{1}{2}', 25), None)
    """
    if '"answer"' not in text:
        return None
    last: tuple[str, int] | None = None
    for start in islice(_object_starts(text), MAX_OBJECTS):
        try:
            found, end = DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        encloses_last = last is None or end > last[1]
        if encloses_last and isinstance(found, dict) and "answer" in found:
            answer = found["answer"]
            if isinstance(answer, list) and all(isinstance(part, str) for part in answer):
                answer = ", ".join(answer)
            answer = answer if isinstance(answer, str) else json.dumps(answer)
            last = SWALLOWED.sub(lambda match: CONTROL[match.group()], answer).strip(), end
    return last


def _object_starts(text: str) -> Iterator[int]:
    """Where an opening brace stands at the start or behind a space or a backtick, from the last one back."""
    start = text.rfind("{")
    while start >= 0:
        if start == 0 or text[start - 1] == "`" or text[start - 1].isspace():
            yield start
        start = text.rfind("{", 0, start)


def whole_statement(region: Region, is_answer: Callable[[str], bool]) -> Statement | None:
    """The region itself, when it stands inside <answer> or is nothing but an answer."""
    text = region.text.strip()
    if region.tagged:
        return Statement(text, "tagged")
    return Statement(text, "bare") if not region.truncated and is_answer(text) else None
