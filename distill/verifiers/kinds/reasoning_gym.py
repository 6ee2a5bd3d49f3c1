r"""Verify answers to the tasks of reasoning-gym: by exact text, or by the package's own scorers where those are safe.

The kind ``reasoning-gym`` compares by our exact-text rule. The package's scorers want bare answers: of 1,800 right
ones, with spaces around them or as 'The answer is ...' among them, they take 945, the exact rule 1,800. Some tasks
have more than one right answer, though. For them there is ``distill.verifiers.kinds.reasoning_gym:own_score``, to be
named as a verifier of one's own, so that it runs in a worker: it reads the answer out of the completion and hands it to
the task's scorer. Its gold is the task's whole entry as JSON: ``{"answer": ..., "metadata": {"source_dataset": ...}}``.

Only the tasks of the table below are scored so. It was made by reading version 0.1.25: neither the module of such a
task nor any module of the package that it imports calls eval, exec, compile, parse_expr or sympify. Left out are
binary_matrix, bitwise_arithmetic, countdown, intermediate_integration, n_queens, number_sorting,
polynomial_multiplication, propositional_logic, puzzle24, simple_integration, spiral_matrix and string_insertion,
whose scorers evaluate what a model wrote; basic_arithmetic, bf, codeio and gsm_symbolic, which evaluate code of their
own elsewhere; composite, which passes on to others; and arc_agi and rearc, whose entries JSON does not keep.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from distill.errors import DistillError
from distill.records import Outcome, Problem, Verdict
from distill.verifiers.kinds.text import find_text, verify_text
from distill.verifiers.setting import Setting, correct, incorrect, judge_statement

AUDITED_VERSION = "0.1.25"
AUDITED = frozenset(
    """
    ab acre advanced_geometry aiw arc_1d base_conversion binary_alternation boxnet caesar_cipher
    calendar_arithmetic chain_sum circuit_logic coin_flip color_cube_rotation complex_arithmetic count_bits
    count_primes course_schedule cryptarithm decimal_arithmetic decimal_chain_sum dice emoji_mystery
    family_relationships figlet_font fraction_simplification futoshiki game_of_life game_of_life_halting gcd
    graph_color group_anagrams isomorphic_strings jugs kakurasu knight_swap knights_knaves largest_island lcm
    leg_counting letter_counting letter_jumble list_functions mahjong_puzzle manipulate_matrix maze mini_sudoku
    modulo_grid needle_haystack number_filtering number_format number_sequence palindrome_generation
    palindrome_partitioning path_star polynomial_equations pool_matrix power_function prime_factorization products
    quantum_lock ransom_note rectangle_count rotate_matrix rotten_oranges rubiks_cube rush_hour
    self_reference sentence_reordering shortest_path simple_equations simple_geometry sokoban spell_backward
    string_manipulation string_splitting string_synthesis sudoku survo syllogism time_intervals tower_of_hanoi
    tsumego word_ladder word_sequence_reversal word_sorting zebra_puzzles
    """.split()  # noqa: SIM905 - as a list it would be a name a line
)


def verify_reasoning_gym(text: str, gold: str, setting: Setting | None = None) -> Verdict:
    """Judge a completion by exact text; the gold is an answer, or a whole entry as JSON.

    >>> verify_reasoning_gym("<answer>A# #B</answer>", "A# #B").outcome.value
    'correct'
    >>> verify_reasoning_gym("The answer is 4", '{"answer": "4", "metadata": {}}').outcome.value
    'correct'
    """
    entry = read_entry(gold)
    return verify_text(text, (entry["answer"] or "") if entry else gold, setting)


def reasoning_gym_gold_problem(problem: Problem) -> str:
    """'gold_unparsed' when the gold is empty, or an entry without an answer, which only its own scorer can judge."""
    entry = read_entry(problem.answer)
    return "" if ((entry["answer"] or "") if entry else problem.answer).strip() else "gold_unparsed"


def prepare_worker() -> None:
    """Import the package, which takes a second or two, before any deadline runs.

    Raises:
        DistillError: it is not installed.
    """
    if _version() == AUDITED_VERSION:
        _scorer(next(iter(AUDITED)))


def own_score(text: str, gold: str) -> Verdict:
    """Judge a completion by the task's own scorer: correct from a score of 1, with the score in the reason.

    A gold that is no entry, a task that is not in the table, or another version of the package leaves it unverified.

    Raises:
        DistillError: reasoning-gym is not installed.
    """
    entry = read_entry(gold)
    task = entry["metadata"].get("source_dataset") if entry else None
    if entry is None or not isinstance(task, str):
        return Verdict(Outcome.UNVERIFIED, reason="gold_unparsed")
    if task not in AUDITED:
        return Verdict(Outcome.UNVERIFIED, reason="scorer_not_audited")
    if _version() != AUDITED_VERSION:
        return Verdict(Outcome.UNVERIFIED, reason="version_not_audited")

    def decide(answer: str) -> Any:
        score = float(_scorer(task)(answer, entry))
        return correct("own_score", "own_score") if score >= 1 else incorrect(f"own_score:{score:.3g}", "own_score")

    setting = Setting()
    return judge_statement(text, setting, lambda region: find_text(region, setting), decide)


def read_entry(gold: str) -> dict[str, Any] | None:
    """The entry that a gold is, or None where it is a plain answer.

    >>> read_entry('{"answer": "4", "metadata": {"source_dataset": "gcd"}}')["answer"], read_entry('{"a": 1}')
    ('4', None)
    """
    if not gold.lstrip().startswith("{"):
        return None
    try:
        entry = json.loads(gold)
    except (ValueError, RecursionError):
        return None
    has_both = isinstance(entry, dict) and isinstance(entry.get("answer", 0), str | None)
    return entry if has_both and isinstance(entry.get("metadata"), dict) else None


def _version() -> str:
    try:
        return importlib.metadata.version("reasoning-gym")
    except importlib.metadata.PackageNotFoundError:
        raise DistillError(
            "the scorers of reasoning-gym need the package, which is not installed",
            hint=f"pip install reasoning-gym=={AUDITED_VERSION}",
        ) from None


@cache
def _scorer(task: str) -> Callable[[str, dict[str, Any]], float]:
    from reasoning_gym import get_score_answer_fn  # type: ignore[import-not-found, unused-ignore]

    scorer: Callable[[str, dict[str, Any]], float] = get_score_answer_fn(task)
    return scorer
