"""Verify that a completion says its problem cannot be solved, where the gold is the text 'None'.

GSM-Plus removes what a problem needs and asks whether a model notices (arXiv 2402.19255). Its authors look for some
twenty phrases and take a completion without '####' for right as well; a number with such a phrase beside it is right
to them. Here what is stated as the answer decides, and a number is a wrong answer whatever is said on the way.
"""

from __future__ import annotations

import re
from functools import partial

from distill.records import Verdict
from distill.verifiers.maths.latex import unwrap
from distill.verifiers.maths.quantities import WRAPPER
from distill.verifiers.reading.extract import Region
from distill.verifiers.reading.loose import loose_number
from distill.verifiers.reading.statements import Statement, math_statement
from distill.verifiers.setting import Decision, Setting, correct, incorrect, judge_statement

MAX_ENDING = 600  # characters of the end in which a completion without a marker sums up

CANNOT = (
    r"(?:can(?:not|'?t| not)|could(?:n'?t| not)|(?:is|are|am|was)(?:n'?t| not) able to|unable to|"
    r"(?:impossible|not possible)(?: for \w+)? to|no way (?:to|of)|"
    r"not? (?:enough|sufficient) (?:\w+ ){0,2}to|(?:do(?:n'?t| not)|does(?:n'?t| not)) allow (?:us|me|one) to)"
)
FIND_OUT = (
    r"(?:be )?(?:\w+ly )?(?:determin|calculat|comput|solv|answer|find|found|know|tell|figure|work(?:ed)? out|establish|"
    r"conclud|deduc|deriv|say|said|giv|provid|infer|estimat)"
)
OBJECT = r"(?:problem|question|information|text|passage|prompt|statement|exercise|we|i|you|it)"
LEAVES_OUT = (
    r"(?:do(?:es)?(?:n'?t| not)|did(?:n'?t| not)|fails? to|is(?:n'?t| not)|are(?:n'?t| not)|never|have(?:n'?t| not)|"
    r"has(?:n'?t| not)) (?:been )?(?:\w+ly )?"
)
GIVES = (
    r"(?:specif(?:y|ied)|provid(?:e|ed)|mention(?:ed)?|stat(?:e|ed)|give|given|say|said|tell|told|included?|contain|"
    r"indicated?|have (?:enough|sufficient|the (?:necessary|required)|(?:all|any) (?:of )?the|information)|"
    r"know (?:how|what|the))"
)
ENOUGH = r"(?:enough|sufficient|necessary|needed|required|complete)"
DATA = r"(?:information|info|data|details?|context|numbers?)"
ABSTAINS = re.compile(
    rf"\b{CANNOT} (?:\w+ )?{FIND_OUT}"
    rf"|\b{OBJECT} {LEAVES_OUT}{GIVES}"
    rf"|\b(?:is|are|was|were)(?:n'?t| not) (?:\w+ly )?(?:given|provided|specified|mentioned|stated|known)\b"
    rf"(?= in (?:the|this)|[.,;!]|$)"
    rf"|\b(?:lacks?|lacking|missing|without|needs?|requires?|insufficient|incomplete|inadequate)"
    rf" (?:of )?(?:the |some |any |more |further |additional |crucial |key |important |{ENOUGH} ){{0,3}}{DATA}"
    rf"|(?:\bnot|n't) (?:\w+ )?{ENOUGH} {DATA}"
    rf"|\b{DATA} (?:is|are) (?:missing|insufficient|incomplete|inadequate|lacking)"
    r"|\b(?:more|additional|further) information (?:is|would be) (?:needed|required|necessary)"
    r"|\b(?:unanswerable|unsolvable|indeterminate|undeterminable|indeterminable|underdetermined)\b"
    r"|\bi (?:do(?:n'?t| not) know|am not sure)\b|\bno (?:definite|definitive|unique|single) (?:answer|solution)\b",
    re.IGNORECASE,
)
# A stated answer that is nothing but one of these.
NOTHING = re.compile(
    r"(?:none|null|nil|n/?a|unknown|undetermined|undefined|uncertain|not (?:known|given|specified|provided|available)|"
    r"impossible|no (?:answer|solution)|(?:the )?answer is (?:none|unknown))",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
SUPPOSES = re.compile(r"\b(?:if|assum\w*|suppos\w*|would|could|might|example|instance|say)\b", re.IGNORECASE)
RESULT = re.compile(r"(?:=|\b(?:is|are|gives?|get|has|have|had|so|be)\b)[\s$\\(]*\d")
NUMBER_FIRST = re.compile(r"[\s$\\(]*-?\d")
APOSTROPHES = str.maketrans("’‘`", "'''")


def is_abstention_gold(gold: str) -> bool:
    """True for the gold of a problem that cannot be solved.

    >>> is_abstention_gold("None"), is_abstention_gold("0"), is_abstention_gold("")
    (True, False, False)
    """
    return gold.strip().casefold() == "none"


def verify_abstention(text: str, setting: Setting | None = None) -> Verdict:
    """Judge a completion to a problem that cannot be solved: right is to say so.

    >>> verify_abstention("The price of a pen is not given, so the total cannot be determined.").outcome.value
    'correct'
    >>> verify_abstention("It cannot be determined. If a pen costs 2, the answer is 8.").outcome.value
    'incorrect'
    >>> verify_abstention("None of them were late, so 0 in all were late that day, as far as I see.").outcome.value
    'no_answer'
    """
    setting = setting or Setting()
    return judge_statement(text, setting, partial(_find, setting=setting), _decide)


def abstains(text: str) -> bool:
    """True when a text says that something cannot be told.

    >>> abstains("We don't know how many he had"), abstains("She cannot be late"), abstains("They were not given away")
    (True, False, False)
    """
    return ABSTAINS.search(text.translate(APOSTROPHES)) is not None


def _find(region: Region, setting: Setting) -> Statement | None:
    """What is stated as the answer; else the end of the text, where it abstains; else, loosely, its last number."""
    stated = math_statement(region, setting.markers, in_parts=False, in_words=True)
    if stated is not None and stated.tier == "marker" and not _says_nothing(stated.answer):
        # 'The answer is as follows' states nothing; an earlier marker may.
        stated = math_statement(region, setting.markers, in_parts=False, in_words=False)
    whole = region.text.strip()
    if stated is not None or region.tagged:
        return stated or Statement(whole, "tagged")
    ending = whole[-MAX_ENDING:]
    if not region.truncated and (_ends_abstaining(ending) or NOTHING.fullmatch(_plain(whole))):
        return Statement(ending, "bare")
    return loose_number(region.text) if setting.flexible else None


def _ends_abstaining(text: str) -> bool:
    """True when a text abstains and comes to no number after that, unless it only supposes one.

    >>> _ends_abstaining("The price is not given. At 2 it would be 8."), _ends_abstaining("We cannot know. So 8.")
    (True, False)
    """
    phrases = list(ABSTAINS.finditer(text.translate(APOSTROPHES)))
    if not phrases:
        return False
    sentence, *later = SENTENCE_END.split(text[phrases[-1].end() :])
    if RESULT.search(sentence) and not SUPPOSES.search(sentence):
        return False
    return not any(re.search(r"\d", said) and not SUPPOSES.search(said) for said in later)


def _decide(answer: str) -> Decision:
    return correct("abstention", "words") if _says_nothing(answer) else incorrect("abstention", "words")


def _says_nothing(answer: str) -> bool:
    """True when an answer is no answer: 'None', or a sentence that it cannot be told."""
    plain = _plain(answer)
    return NOTHING.fullmatch(plain) is not None or (abstains(plain) and not NUMBER_FIRST.match(plain))


def _plain(answer: str) -> str:
    return WRAPPER.sub(r"\1", unwrap(answer.translate(APOSTROPHES))).replace("\\ ", " ").strip().strip("*_\"'.! ")
