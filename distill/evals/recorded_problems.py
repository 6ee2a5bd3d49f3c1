"""Which problem a recorded completion answers: one that its row states, or one of a benchmark that it names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from distill.cards import Card, CardColumns, card_names, load_card
from distill.config import EvalConfig, PromptConfig, VerifierConfig
from distill.errors import DistillError
from distill.evals.benchmarks import Benchmark, benchmark_name, read_benchmark, split_benchmark
from distill.evals.recordings import Recording, RecordingFile
from distill.problems import RowMapping, read_problems
from distill.problems.cells import first_filled, text_of
from distill.problems.rejection import RowRejectedError
from distill.records import Problem

GOLD_NAMES = ("gold", "ground_truth", "target", "expected_answer")
"""Of a recorded row rather the gold answer than 'answer', which may be the model's."""

MAX_BARE_GOLD = 100
"""Characters of a gold answer that stands alone in its column."""


@dataclass(slots=True)
class RecordedProblems:
    """The problems of a benchmark that completions were recorded for."""

    benchmark: Benchmark
    problem_of: Callable[[Recording], Problem]
    """Raises ``RowRejectedError`` for a row that answers none."""
    note: str
    """Where the problems come from, in one line."""
    ids: frozenset[str] = frozenset()
    """Of the benchmark's problems, where the rows are joined with them."""


def recorded_problems(file: RecordingFile, config: EvalConfig) -> RecordedProblems:
    """Find the problems of a file of completions.

    A benchmark that is named is joined by id or question where ``source.path`` names a file of its problems, or
    where the rows do not state theirs; otherwise the rows' own problems are read as its data card says.

    Raises:
        DistillError: there is no such benchmark, or neither the rows nor the benchmark state the problems.
    """
    named = config.benchmarks[0] if config.benchmarks else ""
    if file.shape == "distill" and config.source.path is None:
        return _stated_whole(file, config, named)
    card_name, split = split_benchmark(named or _card_of_task(file.task))
    if not card_name:
        return _stated(file, config, "", "")
    card = load_card(card_name) if card_name in card_names() or card_name.endswith(".md") else None
    if card is not None and split is None:
        split = published_split(card)
    if config.source.path is None and card is not None:
        stated = _stated(file, config, card_name, split or "")
        why_not = _first_reason(stated, file)
        if not why_not:
            _check_uncut(card, split or "")
            return stated
        _check_names_problems(file, config, card, why_not)
        try:
            return _joined(config, benchmark_name(card_name, split or ""))
        except DistillError as error:
            raise DistillError(
                f"the rows of '{file.path}' state no problem ({why_not}), and those of '{card_name}' are out of reach: "
                f"{error}",
                hint="name the rows' columns (source.columns.question, source.columns.answer) or, with source.path, "
                "a file of the problems",
            ) from None
    return _joined(config, benchmark_name(card_name, split or ""))


def _first_reason(stated: RecordedProblems, file: RecordingFile) -> str:
    """Why none of the first rows states a problem; empty where one does."""
    reasons = []
    for row in file.first_rows:
        try:
            stated.problem_of(Recording(1, 0, row, ()))
        except RowRejectedError as reason:
            reasons.append(str(reason))
        else:
            return ""
    return reasons[0]


def published_split(card: Card) -> str:
    """The split that holds a benchmark as it was published: the usual one, unless this project cut it out of another.

    >>> published_split(load_card("gsm8k")), published_split(load_card("bbh"))
    ('test', 'all')
    """
    usual = card.default_split("benchmark")
    whole = [
        name
        for name, split in card.splits.items()
        if not _is_cut(card, name) and card.hub_split(name) == card.hub_split(usual)
    ]
    return usual if usual in whole or not whole else whole[0]


def _stated_whole(file: RecordingFile, config: EvalConfig, named: str) -> RecordedProblems:
    """Our own evaluations hold the problems as they were asked."""
    settings = file.settings
    name, split = split_benchmark(named or str(settings.get("benchmark") or file.path.parent.name))
    made_with = {key: value for key, value in settings.get("verifier", {}).items() if key != "versions"}
    verifier = VerifierConfig.model_validate({**made_with, **config.verifier.model_dump(exclude_defaults=True)})
    card = load_card(name) if name in card_names() else None
    if verifier.markers is None and card is not None:
        verifier = verifier.model_copy(update={"markers": card.verifier.markers})

    def problem_of(recording: Recording) -> Problem:
        if recording.problem is None:
            raise RowRejectedError("missing_question")
        return recording.problem

    benchmark = Benchmark(name, split or "", (), (), PromptConfig(), verifier)
    if card is not None:
        benchmark = replace(benchmark, by=card.by, null_answer=card.null_answer)
    return RecordedProblems(benchmark, problem_of, "problems as they were asked")


def _stated(file: RecordingFile, config: EvalConfig, card_name: str, split: str) -> RecordedProblems:
    """Rows that bring question and gold answer."""
    changes = {"name": card_name, "path": str(file.path), "split": split or None, "limit": None}
    source = read_problems(config.source.model_copy(update=changes), role="benchmark", verifier=config.verifier.kind)
    named = config.source.columns
    columns = _with_usual_names(source.mapping.columns, named.model_dump(), config.recorded.id)
    mapping = replace(source.mapping, columns=columns)
    # Of a card whose gold stands at the end of a solution, rows of completions often bring the bare gold.
    bare = replace(mapping, columns=columns.model_copy(update={"solution": ()}))
    card = source.card

    def problem_of(recording: Recording) -> Problem:
        row = _with_task(recording.row, file.task, card, recording.place)
        gold = text_of(first_filled(row, columns.answer)[1]) or ""
        is_bare = "\n" not in gold and len(gold) <= MAX_BARE_GOLD
        problem = (bare if is_bare else mapping).problem(row, recording.place)
        if config.recorded.question is None or config.recorded.id is not None:
            return problem
        asked = blake2b(" ".join(problem.question.split()).encode(), digest_size=8).hexdigest()
        return replace(problem, id=f"{card.name}/{asked}")

    markers = card.verifier.markers if config.verifier.markers is None else config.verifier.markers
    verifier = config.verifier.model_copy(update={"markers": tuple(markers)})
    benchmark = Benchmark(card.name, split, (), (), PromptConfig(), verifier, "", card.by, card.null_answer)
    return RecordedProblems(benchmark, problem_of, _describe(mapping, file.first_rows[0]))


def _joined(config: EvalConfig, name: str) -> RecordedProblems:
    """Rows that name a benchmark's problem by id or question."""
    benchmark = read_benchmark(config.model_copy(update={"limit": None}), name)
    by_id = {problem.id: problem for problem in benchmark.problems}
    by_question: defaultdict[str, list[Problem]] = defaultdict(list)
    for problem in benchmark.problems:
        by_question[_plain(problem.question)].append(problem)
    id_names, question_names = _joining_names(
        config, load_card(benchmark.name) if benchmark.name in card_names() else None
    )
    asked: Counter[tuple[str, str]] = Counter()

    def problem_of(recording: Recording) -> Problem:
        row_id = text_of(first_filled(recording.row, id_names)[1])
        found = by_id.get(row_id or "")
        if found is None:
            question = _plain(text_of(first_filled(recording.row, question_names)[1]) or "")
            same = by_question.get(question, [])
            if not same:
                raise RowRejectedError(f"not in {benchmark.full_name}")
            # Questions that stand in a benchmark more than once are taken in its order, by each model.
            asker = (question, recording.completions[0].model if recording.completions else "")
            found = same[asked[asker] % len(same)]
            asked[asker] += 1
        return found

    note = f"joined with the {len(by_id):,} problems of {benchmark.full_name}"
    return RecordedProblems(replace(benchmark, problems=()), problem_of, note, frozenset(by_id))


def _joining_names(config: EvalConfig, card: Card | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that may hold a problem's id, and its question."""
    columns, recorded = card.columns if card else CardColumns(), config.recorded
    ids = (recorded.id,) if recorded.id else (*columns.id, "id")
    return ids, (recorded.question,) if recorded.question else (*columns.question, *CardColumns().question)


def _check_names_problems(file: RecordingFile, config: EvalConfig, card: Card, why_not: str) -> None:
    """Raise where no row can be joined with any problem, before these are fetched from wherever they are."""
    ids, questions = _joining_names(config, card)
    if not any(first_filled(row, (*ids, *questions))[1] is not None for row in file.first_rows):
        raise DistillError(
            f"the rows of '{file.path}' state no problem ({why_not}) and name none: they have neither an id nor a "
            "question",
            hint="name the columns: --set recorded.id=NAME, recorded.question=NAME, or source.columns.answer=NAME; "
            f"found: {', '.join(file.first_rows[0])}",
        )


def _with_usual_names(columns: CardColumns, named: Mapping[str, str | None], row_id: str | None) -> CardColumns:
    """The card's columns, and in rows of completions those that usually hold the gold answer, too."""
    usual = CardColumns()
    answers = columns.answer if named["answer"] else (*GOLD_NAMES, *columns.answer)
    questions = columns.question if named["question"] else (*columns.question, *usual.question)
    ids = (row_id,) if row_id else columns.id
    return columns.model_copy(update={"answer": answers, "question": questions, "id": ids})


def _with_task(row: Mapping[str, Any], task: str, card: Card, place: int) -> dict[str, Any]:
    """A row of lm-eval's with the part of the benchmark that only the file's name tells."""
    part = max((part for part in (card.hub.parts if card.hub else ()) if task.endswith(part)), key=len, default="")
    if not part or card.hub is None:
        return dict(row)
    return {card.hub.part_column: part, "id": f"{card.name}/{part}/{place:05d}", **row}


def _card_of_task(task: str) -> str:
    """The data card of one of lm-eval's tasks: the longest name that the task's begins with.

    >>> _card_of_task("mmlu_pro_biology"), _card_of_task("bbh_cot_fewshot_navigate"), _card_of_task("hellaswag")
    ('mmlu_pro', 'bbh', '')
    """
    return max((name for name in card_names() if task.startswith(name)), key=len, default="")


def _describe(mapping: RowMapping, row: Mapping[str, Any]) -> str:
    """Which columns were taken for question and gold answer."""
    question, answer = (first_filled(row, names)[0] for names in (mapping.columns.question, mapping.columns.answer))
    return f"problems from the rows themselves: question from '{question}', gold answer from '{answer}'"


def _is_cut(card: Card, split: str) -> bool:
    return card.splits[split].ranks is not None or bool(card.splits[split].where)


def _check_uncut(card: Card, split: str) -> None:
    if split in card.splits and _is_cut(card, split):
        raise DistillError(
            f"'{card.name}:{split}' is a part of the data that rows of completions cannot be sorted into",
            hint=f"name the file of the problems with source.path=FILE, or score '{card.name}:{published_split(card)}'",
        )


def _plain(text: str) -> str:
    return " ".join(text.split())
