"""Decontamination: what counts as the same question, what as a benchmark's, and what is known of each problem left out."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from distill.cards import HubDataset, load_card
from distill.config import CurateConfig, DecontaminationConfig, SourceConfig
from distill.curate.dataset import read_manifest
from distill.curate.decontaminate import find_benchmarks
from distill.curate.duplicates import ENTRIES_IN_MEMORY, FILES, RepetitionFinder, Repetitions
from distill.curate.job import read_source
from distill.curate.overlap import MAX_PROBLEMS_OF_A_RUN, MIN_COVERED_WORDS, OverlapIndex
from distill.curate.pipeline import curate_dataset, plan_run
from distill.curate.preparation import ProblemList, prepare_problems, stored_problems
from distill.curate.run_dir import RunDir
from distill.curate.settings import stage_settings
from distill.curate.sketches import agreement, sketch
from distill.curate.wording import Wording, read_wording, tokens, words
from distill.errors import DistillError
from distill.problems import read_problems
from distill.problems.hub_cache import cached_commits
from distill.records import Problem
from distill.terminal.runs import show_curated, show_plan
from distill.verifiers import Judge
from tests.curate_parts import ScriptedBackend, scripted, stored_ids, write_jsonl

STORY = (
    "A baker fills 12 trays with 8 rolls each before noon and sells all but 17 of them to the school around the corner. "
    "How many rolls does she sell?"
)
NO_BENCHMARK = DecontaminationConfig(benchmarks=())
CARD = """---
name: halves
title: Two splits of one file
licence: MIT
roles: [source, benchmark]
homepage: https://example.org
splits:
  train: {hub_split: all, ranks: {start: 2}}
  test: {hub_split: all, ranks: {stop: 2}}
verifier: {kind: number}
---
# Halves
"""


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the Hub's library that holds nothing, wherever these tests run."""
    for name in ("HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge() as judge:
        yield judge


def problem(question: str, *, options: Sequence[str] = (), index: int = 0) -> Problem:
    return Problem(f"p/{index}", question, "1", index=index, options=tuple(options))


def source_file(folder: Path, questions: Iterable[str], name: str = "problems.jsonl") -> Path:
    rows = ({"id": f"p/{number}", "question": text, "answer": "1"} for number, text in enumerate(questions))
    return write_jsonl(folder / name, rows)


def benchmark_file(folder: Path, questions: Iterable[str], name: str = "benchmark.jsonl") -> Path:
    return write_jsonl(folder / name, ({"question": text, "answer": "so it is\n#### 1"} for text in questions))


def gsm8k_at(path: Path, **changes: Any) -> DecontaminationConfig:
    return DecontaminationConfig(benchmarks=("gsm8k",), paths={"gsm8k": str(path)}, **changes)


def prepare(folder: Path, source: SourceConfig, config: DecontaminationConfig, judge: Judge) -> ProblemList:
    folder.mkdir(exist_ok=True)
    problems = read_problems(source, role="source")
    return prepare_problems(problems, judge, folder / "problems.parquet", "x", lambda *_: None, config)


def reasons(listed: ProblemList) -> dict[str, tuple[str, str]]:
    """Id -> (reason, detail)."""
    return {problem.id: (reason, detail) for problem, reason, detail in listed.rejections()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Is it  TRUE?\nYes!", "is it true yes"),
        ("“Quoted” ‘words’, it’s Ana's.", "quoted words its anas"),
        ("a 5-year-old dog -- well-known", "a 5 year old dog well known"),
        ("1,000 or 1,00 or 3.50 or .5", "1000 or 1 00 or 3.50 or .5"),
        ("$5 and \\$5", "5 and 5"),
        ("2 - 3, x-y, −1, 3:4", "2 - 3 x - y - 1 3 : 4"),
        ("f'(x) = 3! (so what!)", "f ' ( x ) = 3 ! ( so what )"),
        ("\\frac{1}{2} x^{2}", "frac { 1 } { 2 } x ^ { 2 }"),
        ("[ { < > } ]", "[ { < > } ]"),
        ("数学 問題", "数 学 問 題"),
        ("Cafe\u0301 ÉCOLE straße", "café école strasse"),
        ("", ""),
    ],
)
def test_tokens_drop_what_typing_makes_of_a_text_and_keep_what_mathematics_says(text: str, expected: str) -> None:
    assert " ".join(tokens(text)) == expected


def test_small_numbers_in_words_become_digits_among_words_only() -> None:
    found = tokens("Three men, thirty-one days, a hundred")
    assert found[0] == "three"
    assert words(found) == ["3", "men", "30", "1", "days", "a", "100"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (problem("What is 2 + 3?"), problem("what is  2+3"), True),
        (problem("What is 2 + 3?"), problem("What is 2 - 3?"), False),
        (problem("What is (2 + 3) * 4?"), problem("What is 2 + (3 * 4)?"), False),
        (problem("Is it 3.5?"), problem("Is it 35?"), False),
        (problem("Which?", options=("red", "blue")), problem("Which?", options=("Blue.", "Red.")), True),
        (problem("Which?", options=("red", "blue")), problem("Which?", options=("red", "green")), False),
        (problem("Which?", options=("red", "blue")), problem("Which?"), False),
        (problem("Which? red", options=("blue",)), problem("Which?", options=("red", "blue")), False),
    ],
)
def test_two_problems_read_the_same(one: Problem, other: Problem, same: bool) -> None:
    assert (read_wording(one).key == read_wording(other).key) is same


PLANTED = [
    ("as it is", STORY, True),
    ("in capitals and without punctuation", STORY.upper().replace(".", "").replace("?", " "), True),
    ("in other white space", STORY.replace(" ", " \n\t"), True),
    ("one word changed", STORY.replace("school", "hospital"), True),
    ("one word taken away", STORY.replace(" all", ""), True),
    ("two words changed", STORY.replace("baker", "cook").replace("corner", "block"), True),
    ("inside a longer text", f"Here is a nice riddle for you. {STORY} Explain every step, and check it at the end.", True),
    ("a number in words", STORY.replace("12", "twelve"), True),
    ("cut after most of it", STORY[: STORY.index("corner")], True),
    ("a number changed", STORY.replace("12", "13"), False),
    ("all numbers changed", STORY.replace("12", "3").replace("8", "40").replace("17", "5"), False),
    ("its beginning in another story", "A baker fills 12 trays with 8 rolls each before noon, and eats 17. Why?", False),
    ("something else", "How many rolls fit on 12 trays if 8 fit on one and 17 trays are lost?", False),
]  # fmt: skip


@pytest.mark.parametrize(("how", "text", "is_overlap"), PLANTED, ids=[how for how, _, _ in PLANTED])
def test_a_planted_copy_is_found_and_another_problem_is_not(how: str, text: str, is_overlap: bool) -> None:
    index = OverlapIndex()
    index.add(
        "stories",
        [problem("Who was it that said that all of this would come to nothing in the end?"), problem(STORY, index=7)],
    )
    found = index.find(read_wording(problem(text)))
    assert (found is not None) is is_overlap
    if found is not None:
        assert (found.benchmark, found.problem_id) == ("stories", "p/7")
        assert found.share >= 0.5


def test_a_question_shorter_than_a_run_is_compared_whole() -> None:
    index = OverlapIndex()
    index.add("sums", [problem("What is 7 times 8?", index=3), problem("Which?", options=["red", "blue"], index=4)])
    for text in ("what is 7 times 8", "What is 7\ntimes 8??"):
        found = index.find(read_wording(problem(text)))
        assert found is not None
        assert (found.problem_id, found.share) == ("p/3", 1.0)
    for text in ("What is 7 times 8 plus 1?", "Tell me: what is 7 times 8? I would like to know.", "Which?"):
        assert index.find(read_wording(problem(text))) is None


def test_options_make_up_for_a_short_question() -> None:
    options = ["the sun and the moon", "a lake in the hills", "two birds on a wire"]
    index = OverlapIndex()
    index.add("choices", [problem("Which is true?", options=options)])
    reordered = problem("Which one of these is true?", options=options[::-1])
    assert index.find(read_wording(problem("Which is true?", options=options[::-1]))) is not None
    assert index.find(read_wording(problem("So which is true?", options=options))) is not None
    assert index.find(read_wording(reordered)) is None


def test_sentences_that_most_problems_of_a_card_share_say_nothing() -> None:
    frame = "The following paragraph describes a set of objects in a fixed order. "
    inner = "The {} stands to the left of the lamp that somebody bought in {} long ago."
    rng = Random(0)
    names = ["".join(rng.choice("abcdefghij") for _ in range(6)) for _ in range(80)]
    asked = [
        problem(frame + inner.format(*names[2 * i : 2 * i + 2]), index=i) for i in range(MAX_PROBLEMS_OF_A_RUN + 1)
    ]
    other = read_wording(problem(frame + inner.format("table", "Rome")))
    few, many = OverlapIndex(), OverlapIndex()
    few.add("objects", asked[:-1])
    many.add("objects", asked)
    assert few.find(other) is not None
    assert many.find(other) is None
    found = many.find(read_wording(replace(asked[5], question=f"Well: {asked[5].question} Say why.")))
    assert found is not None
    assert found.problem_id == "p/5"


def test_numbers_that_follow_each_other_say_nothing() -> None:
    counting = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"
    index = OverlapIndex()
    index.add("sums", [problem(f"What is the sum of {counting}?")])
    assert index.find(read_wording(problem(f"How many eggs are left? {counting}"))) is None
    assert index.find(read_wording(problem(f"So what is the sum of {counting}?"))) is not None


def test_a_card_compared_whole_finds_only_whole_questions() -> None:
    index = OverlapIndex()
    assert index.add("stories", [problem(STORY)], whole=True) == 1
    assert index.num_runs == 0
    assert index.find(read_wording(problem(STORY.lower()))) is not None
    assert index.find(read_wording(problem(STORY + " Why?"))) is None


def runs_of(found: list[str], run: int) -> list[tuple[str, ...]]:
    return [tuple(found[place : place + run]) for place in range(len(found) - run + 1)]


def naive_overlap(asked: list[list[str]], text: list[str], run: int, share: float) -> tuple[int, float] | None:
    """The rule in sets and loops; numbers are left out, for there are none in these texts."""
    holders = Counter(each for one in asked for each in set(runs_of(one, run)))
    known = set(runs_of(text, run))
    best: tuple[float, int] | None = None
    for number, one in enumerate(asked):
        own = runs_of(one, run)
        rare = [place for place, each in enumerate(own) if holders[each] <= MAX_PROBLEMS_OF_A_RUN]
        coverable = {place + step for place in rare for step in range(run)}
        covered = {place + step for place in rare if own[place] in known for step in range(run)}
        if covered and len(covered) >= min(MIN_COVERED_WORDS, len(one)) and len(covered) / len(coverable) >= share:
            best = max(best or (0.0, 0), (len(covered) / len(coverable), -number))
    return None if best is None else (-best[1], best[0])


@pytest.mark.parametrize("seed", range(4))
def test_the_index_finds_what_loops_over_sets_find(seed: int) -> None:
    rng = Random(seed)
    phrases = [[rng.choice("abcdefg") for _ in range(rng.randrange(3, 9))] for _ in range(14)]

    def text() -> list[str]:
        return [word for _ in range(rng.randrange(1, 6)) for word in rng.choice(phrases)]

    asked = [text() for _ in range(60)]
    index = OverlapIndex(run=3, share=0.6)
    index.add("letters", [problem(" ".join(each), index=number) for number, each in enumerate(asked)])
    outcomes = set()
    for _ in range(150):
        # a word of its own keeps the text from being one of the benchmark's, which is another rule
        found = ["start", *text()]
        wanted = naive_overlap(asked, found, run=3, share=0.6)
        overlap = index.find(Wording(0, found, []))
        outcomes.add(wanted is None)
        if wanted is None:
            assert overlap is None
        else:
            assert overlap is not None
            assert overlap.share == pytest.approx(wanted[1], abs=1e-12)
            assert overlap.problem_id == f"p/{wanted[0]}"
    assert outcomes == {True, False}


def test_the_index_takes_fourteen_bytes_a_run_and_sixteen_a_problem() -> None:
    rng = Random(0)
    vocabulary = ["".join(rng.choice("abcdefghijklmnop") for _ in range(5)) for _ in range(3000)]
    asked = [problem(" ".join(rng.choices(vocabulary, k=40)), index=i) for i in range(500)]
    index = OverlapIndex()
    for part in range(5):
        index.add(f"part {part}", asked[part::5])
    assert index.num_runs == 500 * (40 - 8 + 1)
    # hash 8, owner 4, place 2; and for a problem: key 8, owner 4, coverable words 4
    assert index.num_bytes == 14 * index.num_runs + 16 * 500


def repetitions(texts: Sequence[str], near: float | None = None) -> dict[int, tuple[str, int]]:
    """Index -> (reason, index of the earlier problem)."""
    with RepetitionFinder(near=near) as finder:
        for index, text in enumerate(texts):
            finder.add(index, read_wording(problem(text)))
        found = finder.find()
    assert sum(found.counts.values()) == len(found) == len(list(found.among(np.arange(len(texts)))))
    return {place: (reason, earlier) for place, reason, earlier in found.among(np.arange(len(texts)))}


def test_repetitions_are_those_that_a_dictionary_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.curate.duplicates.ENTRIES_IN_MEMORY", 64)  # so that much goes to the files
    rng = Random(1)
    texts = [f"What is {rng.randrange(600)} plus {rng.randrange(2)}?" for _ in range(1500)]
    first: dict[str, int] = {}
    wanted = {}
    for index, text in enumerate(texts):
        if first.setdefault(text, index) != index:
            wanted[index] = ("duplicate", first[text])
    assert len(wanted) > 300
    assert repetitions(texts) == wanted


def test_near_duplicates_have_the_same_numbers_and_nearly_the_same_words() -> None:
    other = STORY.replace("A baker", "An uncle")
    texts = [
        STORY,
        "Name 3 rivers.",
        other,
        STORY.replace("12", "14"),
        STORY.replace("8 rolls", "9 rolls"),
        STORY.upper(),
    ]
    assert repetitions(texts) == {5: ("duplicate", 0)}
    assert repetitions(texts, near=0.7) == {2: ("near_duplicate", 0), 5: ("duplicate", 0)}
    assert agreement(sketch(words(tokens(STORY))), sketch(words(tokens(other)))) == pytest.approx(0.88, abs=0.15)


def test_sketches_agree_as_much_as_the_texts_have_in_common() -> None:
    rng = Random(2)
    errors = []
    for _ in range(200):
        one = [rng.choice("abcdefghijklmnopqrstuvwxyz") + rng.choice("abc") for _ in range(60)]
        cut = rng.randrange(1, 60)
        other = one[:cut] + [word + "x" for word in one[cut:]]
        sets = [{tuple(text[i : i + 3]) for i in range(58)} for text in (one, other)]
        jaccard = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        errors.append(agreement(sketch(one), sketch(other)) - jaccard)
    # sqrt(J (1 - J) / 32) is at most 0.088, so the mean of 200 lies within three times 0.0063
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.1


def test_memory_for_duplicates_does_not_grow_with_the_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.curate.duplicates.ENTRIES_IN_MEMORY", 256)
    wording = read_wording(problem(STORY))
    peaks = []
    for number in (2_000, 12_000):
        tracemalloc.start()
        with RepetitionFinder() as finder:
            for index in range(number):
                finder.add(index, replace(wording, key=(index * 0x9E3779B97F4A7C15) % 2**64))
                assert finder.num_bytes <= 256 * 12
            held = tracemalloc.get_traced_memory()[1]
            assert len(finder.find()) == 0
        peaks.append(held)
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 4096
    assert ENTRIES_IN_MEMORY * 12 * 2 < 500_000  # keys and bands of the real size
    # what is read back at the end is a file at a time: 12 bytes a problem, sixteen files
    assert FILES == 16


def test_a_repetition_is_remembered_in_eight_bytes() -> None:
    triples = np.array([[index, 0, index % 2] for index in range(1, 1001)])
    assert Repetitions(triples).num_bytes == 8 * 1000
    assert list(Repetitions(np.empty((0, 3), np.int64)).among(np.arange(5))) == []


def test_a_list_names_what_was_left_out_and_what_it_repeats(tmp_path: Path, judge: Judge) -> None:
    questions = ["Name 4 rivers.", STORY.replace("corner", "block"), "name 4 RIVERS", "Name 5 rivers.", "Name 4 rivers"]
    source = SourceConfig(name=str(source_file(tmp_path, questions)))
    listed = prepare(tmp_path / "run", source, gsm8k_at(benchmark_file(tmp_path, ["Who?", STORY])), judge)
    assert reasons(listed) == {
        "p/1": ("benchmark_overlap:gsm8k", "gsm8k/test/00001 (77%)"),  # 23 of 30 words: 6 are left behind
        "p/2": ("duplicate", "index 0"),
        "p/4": ("duplicate", "index 0"),
    }
    assert [each.id for each in listed] == ["p/0", "p/3"]
    assert list(listed.indices) == [0, 3]
    assert listed.rejected == {"duplicate": 2, "benchmark_overlap:gsm8k": 1}
    report = listed.decontamination
    assert report is not None
    assert (report.duplicates, report.near_duplicates, dict(report.unchecked)) == (2, 0, {})
    assert [(each.name, each.problems, each.overlaps) for each in report.benchmarks] == [("gsm8k", 2, 1)]
    assert json.loads(json.dumps(report.to_json())) == json.loads(json.dumps(stored_report(listed)))


def stored_report(listed: ProblemList) -> Mapping[str, Any]:
    report = stored_problems(listed.path).decontamination
    assert report is not None
    return report.to_json()


def test_the_same_source_gives_the_same_list_byte_by_byte(tmp_path: Path, judge: Judge) -> None:
    rng = Random(3)
    questions = [f"What is {rng.randrange(40)} minus {rng.randrange(40)}?" for _ in range(2500)]
    source = SourceConfig(name=str(source_file(tmp_path, questions)))
    config = gsm8k_at(benchmark_file(tmp_path, ["What is 3 minus 4?", STORY]), near_duplicates=0.9)
    listed = [prepare(tmp_path / name, source, config, judge) for name in ("one", "two")]
    assert listed[0].path.read_bytes() == listed[1].path.read_bytes()
    assert listed[0].rejected["duplicate"] > 500
    shorter = prepare(tmp_path / "three", source.model_copy(update={"limit": 1200}), config, judge)
    known = reasons(listed[0])
    assert reasons(shorter) == {each: known[each] for each in known if int(each[2:]) < 1200}


def test_a_problem_whose_first_copy_is_rejected_is_kept(tmp_path: Path, judge: Judge) -> None:
    rows = [{"id": answer, "question": "How far?", "answer": answer} for answer in ("\\frac{1}{", "2", "3")]
    path = write_jsonl(tmp_path / "problems.jsonl", [*rows, {"id": "none", "question": "How far?"}])
    listed = prepare(tmp_path / "run", SourceConfig(name=str(path)), NO_BENCHMARK, judge)
    assert [each.id for each in listed] == ["2"]
    assert {each: reason for each, (reason, _) in reasons(listed).items()} == {
        "\\frac{1}{": "gold_unparsed",
        "3": "duplicate",
        "none": "missing_answer",
    }


def test_a_bad_row_keeps_its_own_reason_beside_a_repetition_at_its_place(tmp_path: Path, judge: Judge) -> None:
    rows = ['{"id": "a", "question": "How far?", "answer": "1"}', "", '{"id": "bad", "question": "How far?"}']
    rows.append('{"id": "b", "question": "how far", "answer": "1"}')  # the third row, and the bad one is in line 3
    (tmp_path / "problems.jsonl").write_text("\n".join(rows), encoding="utf-8")
    listed = prepare(tmp_path / "run", SourceConfig(name=str(tmp_path / "problems.jsonl")), NO_BENCHMARK, judge)
    assert reasons(listed) == {"b": ("duplicate", "index 0"), "bad": ("missing_answer", "")}


def test_duplicates_are_kept_where_the_recipe_says_so(tmp_path: Path, judge: Judge) -> None:
    source = SourceConfig(name=str(source_file(tmp_path, ["How far?", "How far"])))
    config = NO_BENCHMARK.model_copy(update={"duplicates": False})
    assert len(prepare(tmp_path / "run", source, config, judge).indices) == 2


def benchmarks_of(source: SourceConfig, **changes: Any) -> dict[str, bool]:
    """Benchmark -> whether its problems are at hand."""
    opened = read_problems(source, role="source")
    return {each.name: each.source is not None for each in find_benchmarks(DecontaminationConfig(**changes), opened)}


def test_every_card_that_is_not_here_is_named_and_none_is_fetched(tmp_path: Path, judge: Judge) -> None:
    source = SourceConfig(name=str(source_file(tmp_path, ["How far?"])))
    named = benchmarks_of(source)
    assert {"gsm8k", "math500", "bb_sub", "arithmetic"} <= set(named)
    assert "open_s1" in named
    assert [name for name, is_here in named.items() if is_here] == ["arithmetic"]
    listed = prepare(tmp_path / "run", source, DecontaminationConfig(), judge)
    report = listed.decontamination
    assert report is not None
    assert [each.name for each in report.benchmarks] == ["arithmetic"]
    assert set(report.unchecked) == set(named) - {"arithmetic"}
    assert report.unchecked["bb_sub"] == "not on the Hub: name a file with decontaminate.paths.bb_sub"


def test_the_split_that_is_curated_is_no_benchmark_but_its_cards_test_split_is() -> None:
    assert benchmarks_of(SourceConfig(name="arithmetic"), benchmarks=("arithmetic", "arithmetic:ood")) == {
        "arithmetic": True,
        "arithmetic:ood": True,
    }
    assert benchmarks_of(SourceConfig(name="arithmetic", split="test"), benchmarks=("arithmetic",)) == {}
    assert benchmarks_of(SourceConfig(name="arithmetic", split="ood"), benchmarks=("arithmetic",)) == {
        "arithmetic": True
    }


def test_two_splits_of_one_file_are_compared_without_naming_it_twice(tmp_path: Path, judge: Judge) -> None:
    card = tmp_path / "halves.md"
    card.write_text(CARD, encoding="utf-8")
    path = source_file(tmp_path, [STORY, STORY.upper(), STORY + " Why?", STORY + " Where?"])
    source = SourceConfig(name=str(card), path=str(path))
    listed = prepare(tmp_path / "run", source, DecontaminationConfig(benchmarks=(str(card),)), judge)
    assert len(listed.rejected) == 1
    assert list(listed.rejected.values()) == [2]
    assert len(listed.indices) == 0


@pytest.mark.parametrize("name", ["bbh", "gsm8k"])
def test_a_file_that_is_called_like_a_card_is_not_taken_for_it(tmp_path: Path, name: str) -> None:
    source = SourceConfig(name=str(source_file(tmp_path, [STORY], f"{name}.jsonl")))
    assert benchmarks_of(source, benchmarks=(name,)) == {name: False}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"benchmarks": ("gsm8",)}, "no data card is called 'gsm8'"),
        ({"paths": {"gsm8": "x.jsonl"}}, "decontaminate.paths names 'gsm8'"),
        ({"paths": {"gsm8k": "nowhere.jsonl"}}, "no file 'nowhere.jsonl'"),
        ({"benchmarks": ("gsm8k:best",)}, "'gsm8k' has no split 'best'"),
    ],
)
def test_a_benchmark_that_cannot_be_is_an_error(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(DistillError, match=message) as caught:
        benchmarks_of(SourceConfig(name="arithmetic"), **config)
    assert caught.value.hint


def test_a_copy_that_is_no_such_benchmark_is_named(tmp_path: Path, judge: Judge) -> None:
    path = write_jsonl(tmp_path / "b.jsonl", [{"text": "hello"}])
    source = SourceConfig(name=str(source_file(tmp_path, ["How far?"])))
    with pytest.raises(DistillError, match="the benchmark 'gsm8k' cannot be compared with") as caught:
        prepare(tmp_path / "run", source, gsm8k_at(path), judge)
    assert "decontaminate.benchmarks" in caught.value.hint
    assert not (tmp_path / "run" / "problems.parquet").exists()


def put_into_cache(cache: Path, folder: str, name: str, questions: Iterable[str]) -> None:
    """Write a split as the Hub's library keeps it."""
    table = pa.Table.from_pylist([{"question": text, "answer": "#### 1"} for text in questions])
    (cache / folder).mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(cache / folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def test_what_the_hubs_library_has_put_here_is_read_at_the_cards_commit(
    tmp_path: Path, empty_cache: Path, judge: Judge
) -> None:
    source = SourceConfig(name=str(source_file(tmp_path, ["Who sells 3 rolls?", STORY, "Name a river."])))
    config = DecontaminationConfig(benchmarks=("gsm8k",))
    put_into_cache(empty_cache, f"openai___gsm8k/main/0.0.0/{'0' * 40}", "gsm8k-test.arrow", [STORY])
    assert benchmarks_of(source, benchmarks=("gsm8k",)) == {"gsm8k": False}
    hub = load_card("gsm8k").hub
    assert hub is not None
    folder = f"openai___gsm8k/main/0.0.0/{hub.revision}"
    put_into_cache(empty_cache, folder, "gsm8k-test-00001-of-00002.arrow", [STORY])
    assert benchmarks_of(source, benchmarks=("gsm8k",)) == {"gsm8k": False}  # half of a split is none
    put_into_cache(empty_cache, folder, "gsm8k-test-00000-of-00002.arrow", ["Who sells 3 rolls?"])
    listed = prepare(tmp_path / "run", source, config, judge)
    assert reasons(listed) == {
        "p/0": ("benchmark_overlap:gsm8k", "gsm8k/test/00000 (100%)"),
        "p/1": ("benchmark_overlap:gsm8k", "gsm8k/test/00001 (100%)"),
    }


@pytest.mark.parametrize(
    ("dataset_id", "config", "folder", "is_here"),
    [
        ("some/thing", None, "some___thing/default", True),
        ("some/XSTest", None, "some___xs_test/default", True),
        ("somet/hing", None, "some___thing/default", False),
        ("some/xstest", None, "some___xs_test/default", False),
        ("some/thing", None, "some___thing/main", True),  # the only one
        ("some/thing", "main", "some___thing/default", False),
        ("thing", None, "thing/default", True),
    ],
)
def test_the_cache_is_searched_by_the_names_that_the_hubs_library_gives(
    dataset_id: str, config: str | None, folder: str, is_here: bool, empty_cache: Path
) -> None:
    put_into_cache(empty_cache, f"{folder}/0.0.0/{'a' * 40}", "thing-test.arrow", [STORY])
    assert bool(cached_commits(HubDataset(id=dataset_id, config=config), "test")) is is_here


def test_of_several_configurations_the_default_one_is_meant_or_none(empty_cache: Path) -> None:
    for config in ("main", "socratic"):
        put_into_cache(empty_cache, f"some___thing/{config}/0.0.0/{'a' * 40}", "thing-test.arrow", [STORY])
    assert cached_commits(HubDataset(id="some/thing"), "test") == []
    put_into_cache(empty_cache, f"some___thing/default/0.0.0/{'b' * 40}", "thing-test.arrow", [STORY])
    assert cached_commits(HubDataset(id="some/thing"), "test") == ["b" * 40]


def test_a_dataset_of_parts_is_there_when_all_parts_are(tmp_path: Path, empty_cache: Path) -> None:
    card = load_card("agieval")
    assert card.hub is not None
    for part in card.hub.parts:
        assert cached_commits(card.hub, "test") == []
        put_into_cache(
            empty_cache, f"hails___agieval-{part}/default/0.0.0/{'a' * 40}", f"agieval-{part}-test.arrow", [part]
        )
    assert cached_commits(card.hub, "test") == ["a" * 40] * len(card.hub.parts)
    source = read_problems(SourceConfig(name="agieval"), role="benchmark")
    source.offline = True
    assert [json.loads(each.metadata)["task"] for each in source] == list(card.hub.parts)


def settings_of(config: CurateConfig) -> Any:
    return stage_settings(config, *read_source(config))["problems"]["decontaminate"]


def test_the_settings_hold_what_was_compared_and_not_where_it_lay(tmp_path: Path) -> None:
    first, again = benchmark_file(tmp_path, [STORY]), benchmark_file(tmp_path, [STORY], "copy.jsonl")
    other = benchmark_file(tmp_path, [STORY, "Who?"], "other.jsonl")
    at = [settings_of(scripted(decontaminate=gsm8k_at(path)))["benchmarks"]["gsm8k"] for path in (first, again, other)]
    assert at[0] == at[1] != at[2]
    assert settings_of(scripted())["benchmarks"]["gsm8k"] == "unchecked"
    assert settings_of(scripted())["benchmarks"]["arithmetic"].startswith("exact ")


def test_a_branch_stands_for_the_commit_that_is_here(empty_cache: Path) -> None:
    config = scripted(decontaminate=DecontaminationConfig(benchmarks=("xstest",)))
    found = []
    for commit in ("a" * 40, "b" * 40):
        put_into_cache(empty_cache, f"walledai___xs_test/default/0.0.0/{commit}", "xs_test-test.arrow", [STORY])
        (empty_cache / f"walledai___xs_test/default/0.0.0/{commit}").touch()
        found.append(settings_of(config)["benchmarks"]["xstest"])
        assert settings_of(config)["benchmarks"]["xstest"] == found[-1]
    assert len({*found, "unchecked"}) == 3


def test_a_run_with_groups_refuses_other_settings_and_one_without_takes_them(tmp_path: Path) -> None:
    ScriptedBackend.script()
    strict = scripted(decontaminate=DecontaminationConfig(share=0.9))
    with RunDir(tmp_path / "new") as run:
        for config in (scripted(), strict):
            run.start(config, stage_settings(config, *read_source(config)), {}, "if-possible")
    curate_dataset(scripted(), tmp_path / "run")
    with pytest.raises(DistillError, match=re.escape("problems.decontaminate.share was 0.5, is 0.9")):
        curate_dataset(strict, tmp_path / "run")


def test_a_run_grows_and_never_samples_what_is_left_out(tmp_path: Path) -> None:
    ScriptedBackend.script()
    questions = ["How far is 1?", "how far is 1", STORY, "How far is 2?", STORY.upper(), "How far is 2"]
    path, known = source_file(tmp_path, questions), benchmark_file(tmp_path, [STORY])
    for limit in (3, 6):
        config = scripted(source=SourceConfig(name=str(path), limit=limit), decontaminate=gsm8k_at(known))
        curate_dataset(config, tmp_path / "run")
    assert ScriptedBackend.asked == ["p/0", "p/3"]
    assert sorted(stored_ids(tmp_path / "run")) == ["p/0", "p/3"]


def test_a_run_says_what_was_compared_and_what_was_not_wherever_it_is_looked_at(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, known = source_file(tmp_path, ["How far is it?", STORY]), benchmark_file(tmp_path, [STORY, "Who?"])
    compared = DecontaminationConfig(benchmarks=("gsm8k", "math500"), paths={"gsm8k": str(known)})
    config = scripted(source=SourceConfig(name=str(path)), decontaminate=compared)
    show_plan(plan_run(config, tmp_path / "run"))
    result = curate_dataset(config, tmp_path / "run")
    show_curated(result)
    for shown in capfd.readouterr():  # the plan on stdout, the run's end on stderr
        lines = [" ".join(line.split()) for line in shown.splitlines()]
        assert {"compared with gsm8k (2)", "unchecked math500"} <= set(lines)
        assert any("1 left out" in line and "benchmark_overlap:gsm8k" in line for line in lines)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["problems"]["rejected"] == {"benchmark_overlap:gsm8k": 1}
    told = report["decontamination"]
    assert [(each["name"], each["problems"], each["overlaps"]) for each in told["benchmarks"]] == [("gsm8k", 2, 1)]
    assert told["unchecked"] == {"math500": "not on this machine"}
    assert read_manifest(result.dataset)["decontamination"] == told


def test_the_quick_starts_source_loses_no_problem(tmp_path: Path, judge: Judge) -> None:
    source = SourceConfig(name="arithmetic", limit=6000)
    config = DecontaminationConfig(near_duplicates=0.5, benchmarks=("arithmetic", "arithmetic:ood"))
    listed = prepare(tmp_path / "run", source, config, judge)
    assert len(listed.indices) == 6000
    assert listed.rejected == {}
    index = OverlapIndex()
    index.add("by runs of words", read_problems(SourceConfig(name="arithmetic"), role="benchmark"))
    assert sum(index.find(read_wording(each)) is not None for each in listed) > 3  # why its card says 'exact'


@pytest.mark.parametrize(
    ("source", "benchmark", "found"),
    [("gsm8k/train.jsonl", "gsm8k/test.jsonl", 0), ("math/math_test_5000.jsonl", "math/math500.jsonl", 518)],
)
def test_real_sources_lose_what_a_benchmark_asks_too(
    shared_data: Path, source: str, benchmark: str, found: int
) -> None:
    """MATH's test split holds the 500 of MATH-500, and 18 that differ from one of them in a word or the last sentence."""
    index = OverlapIndex()
    index.add("b", read_problems(SourceConfig(name=str(shared_data / benchmark)), role="benchmark"))
    problems = read_problems(SourceConfig(name=str(shared_data / source)), role="source")
    assert sum(index.find(read_wording(each)) is not None for each in problems) == found
