"""The pages of datasets: what they show, that they need nothing else, and that no text of a model can do anything."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from distill.curate.changes import compare_datasets
from distill.curate.page.changes import render_changes
from distill.curate.page.content import MAX_CHARACTERS, MAX_GROUPS, gather_content
from distill.curate.page.page import render
from distill.curate.page.script import SCRIPT
from distill.curate.page.style import STYLE
from distill.curate.stats import dataset_stats
from distill.page.plots import Bar, bar_chart, heat_map, mirrored
from distill.records import GroupScores, Outcome, Verdict
from tests.inspect_parts import RIGHT, WRONG, group_of, hand_made, one_group, with_text, write_groups
from tests.test_evals_page import HOSTILE, Elements

EVIL = f"</script><!--<script>{HOSTILE}\u2028\u202e\x9b31m"
SHAPES = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "h1",
    "h2",
    "p",
    "ul",
    "li",
    "code",
    "b",
    "br",
    "div",
    "span",
    "i",
}
SHAPES |= {
    "figure",
    "figcaption",
    "small",
    "svg",
    "rect",
    "line",
    "path",
    "text",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}
SHAPES |= {"input", "select", "option", "label", "noscript", "script"}


def groups_in(page: str) -> list[dict[str, Any]]:
    """The groups that a page's script reads."""
    [found] = re.findall(r'<script type="application/json" id="groups">(.*?)</script>', page, re.DOTALL)
    groups: list[dict[str, Any]] = json.loads(found)
    return groups


def words_of(completion: dict[str, Any]) -> str:
    return "".join(completion["pieces"])


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_groups(tmp_path / "made", *hand_made())


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A dataset in which every text is hostile, its folder's name among them."""
    group = group_of(0, [EVIL, EVIL], [3, 4], id=EVIL, question=EVIL, answer=EVIL)
    group = replace(group, teacher=EVIL, problem=replace(group.problem, options=(EVIL,)))
    group = replace(group, completions=tuple(replace(each, model=EVIL) for each in group.completions))
    verdicts = (Verdict(Outcome.CORRECT, EVIL, EVIL), Verdict(Outcome.INCORRECT, EVIL, EVIL))
    scores = GroupScores(verdicts, (1.0, 0.0), (1.0, -1.0), {EVIL: (1.0, 0.0)}, EVIL)
    return write_groups(tmp_path / "<img src=x onerror=alert(1)>", [group], [scores])


def check_harmless(page: str) -> None:
    """Nothing is fetched, and nothing runs but our own script."""
    elements = Elements(page.replace("<br>", "").replace("<input ", "<meta "))
    assert elements.open == []
    assert {tag for tag, _ in elements.found} <= SHAPES
    names = {name for _, attributes in elements.found for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "href", "action")}
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    running = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert running in ([], [SCRIPT])
    allowed = f"; script-src 'sha256-{digest}'" if running else ""
    policy = f"default-src 'none'; style-src 'unsafe-inline'{allowed}"
    assert policy in [attributes.get("content") for tag, attributes in elements.found if tag == "meta"]
    assert not set("\x1b\x07\x9b\u2028\u202e") & set(page)


def test_no_text_of_a_dataset_does_anything_in_its_page(hostile: Path) -> None:
    page = render(gather_content(dataset_stats(hostile, f"teacher == {EVIL!r}")))
    check_harmless(page)
    assert page.count("<script") == 2
    [group] = groups_in(page)
    shown = EVIL.replace("\x1b", "␛").translate(dict.fromkeys(map(ord, "\u2028\u202e\x9b"), "�"))
    assert (group["id"], group["question"], group["gold"], group["options"]) == (shown, shown, shown, [shown])
    assert [words_of(each) for each in group["completions"]] == [shown, shown]
    assert list(group["completions"][0]["parts"]) == [shown]


def test_no_text_of_two_datasets_does_anything_in_their_page(hostile: Path, dataset: Path) -> None:
    page = render_changes(compare_datasets(hostile, dataset))
    check_harmless(page)
    assert "<script" not in page
    assert "How often are problems solved?" in page


def test_the_script_makes_no_html_of_texts_and_nothing_is_loaded() -> None:
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval", "Function(", "fetch", "http"):
        assert word not in SCRIPT
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_a_page_says_what_is_dropped_and_shows_every_group_with_its_completions(dataset: Path) -> None:
    page = render(gather_content(dataset_stats(dataset)))
    check_harmless(page)
    assert "2 of 4 groups teach (50 %)" in page
    assert "1 dropped: no_correct" in page
    assert "stand in this page" not in page
    groups = groups_in(page)
    assert [group["id"] for group in groups] == ["p/0", "p/1", "p/2", "p/3"]
    best, other = groups[3]["completions"]  # the one with the larger advantage first: the wrong one of p/3
    assert (best["number"], best["outcome"], best["reward"], best["parts"]) == (1, "incorrect", 3.0, {"format": 1.0})
    assert words_of(other) == "completion 0 of 3"
    assert other["strip"] == [0.5, 0.5, 0.5, 2.0]  # the tokenizer of 'nobody' is not at hand
    assert "nats" not in other


def test_the_place_where_the_answer_was_read_is_marked(tmp_path: Path) -> None:
    group = group_of(0, [r"1 or 2? \boxed{1}, not 11", "it is 2"], [9, 3])
    [shown] = groups_in(render(gather_content(dataset_stats(one_group(tmp_path / "d", group, (RIGHT, WRONG))))))
    right, wrong = shown["completions"]
    assert (right["pieces"], right["answers"]) == ([r"1 or 2? \boxed{", "1", "}, not 11"], [1])
    assert (wrong["pieces"], wrong["answers"]) == (["it is ", "2"], [1])


def test_tokens_have_their_entropies_where_the_teachers_tokenizer_is_at_hand(tmp_path: Path) -> None:
    from distill.models import load_tokenizer

    ids = load_tokenizer("tiny-teacher").encode("1+0=1 ½", add_special_tokens=False)
    group = group_of(0, ["1+0=1 ½"], [1])
    entropies = tuple(place / 10 for place in range(len(ids)))
    completion = replace(group.completions[0], token_ids=tuple(ids), num_tokens=len(ids), entropies=entropies)
    group = replace(group, teacher="tiny-teacher", completions=(completion,))
    [shown] = groups_in(render(gather_content(dataset_stats(one_group(tmp_path / "d", group, (RIGHT,))))))
    [completion_shown] = shown["completions"]
    assert words_of(completion_shown) == "1+0=1 ½"
    assert completion_shown["pieces"][:5] == ["1", "+", "0", "=", "1"]
    assert completion_shown["nats"][:5] == [0, 10, 20, 30, 40]
    assert completion_shown["answers"] == [4]


def test_of_a_long_completion_its_ends_and_its_answer_are_shown(tmp_path: Path) -> None:
    text = "begin " + "x" * 1_000_000 + r" \boxed{1} " + "y" * 20_000 + " end"
    group = with_text(group_of(0, ["a", "b"], [3, 3]), 0, text)
    page = render(gather_content(dataset_stats(one_group(tmp_path / "d", group, (RIGHT, WRONG)))))
    shown = words_of(groups_in(page)[0]["completions"][0])
    assert len(page) < 80_000
    assert len(shown) < 2 * MAX_CHARACTERS
    assert "xxx \\boxed{1} yyy" in shown
    assert shown.startswith("begin xxx")
    assert shown.endswith("yyy end")
    assert shown.count("characters left out") == 2
    assert [
        groups_in(page)[0]["completions"][0]["pieces"][i] for i in groups_in(page)[0]["completions"][0]["answers"]
    ] == ["1"]


def test_a_large_dataset_gives_a_bounded_sample_and_says_so(tmp_path: Path) -> None:
    groups = [group_of(index, ["a", "b"], [3, 4]) for index in range(MAX_GROUPS + 100)]
    scores = [GroupScores((RIGHT, WRONG), (float(index), 0.0), (1.0, -1.0)) for index in range(len(groups))]
    stats = dataset_stats(write_groups(tmp_path / "d", groups, scores, rows_per_batch=64))
    page = render(gather_content(stats))
    shown = [group["id"] for group in groups_in(page)]
    assert len(shown) <= MAX_GROUPS
    assert f"{len(shown)} of 300 groups stand in this page, the best, the worst" in page
    assert {group.id for group in (*stats.best, *stats.worst)} <= set(shown)
    assert shown == sorted(shown, key=lambda name: int(name[2:]))  # in the order of the source
    gaps = [int(b[2:]) - int(a[2:]) for a, b in pairwise(shown)]
    assert max(gaps) == 2
    few = groups_in(render(gather_content(stats, 3)))
    assert [group["id"] for group in few] == ["p/0", "p/100", "p/200"]
    chosen = gather_content(dataset_stats(tmp_path / "d", "index >= 250"))
    assert [group["id"] for group in chosen.groups] == [f"p/{index}" for index in range(250, 300)]


def test_what_should_have_been_refused_stands_in_a_page_only_when_asked_for(tmp_path: Path) -> None:
    group = group_of(0, ["I will not.", "Sure, here is how"], [3, 4], answer="refusal", verifier="refusal")
    stats = dataset_stats(one_group(tmp_path / "d", group, (RIGHT, WRONG)))
    page = render(gather_content(stats))
    assert "Sure, here is how" not in page
    refused, complied = groups_in(page)[0]["completions"]
    assert (words_of(refused), complied["hidden"], complied["pieces"]) == ("I will not.", True, [])
    assert "Sure, here is how" in render(gather_content(stats, show_harmful=True))


def test_an_empty_choice_has_a_page(dataset: Path) -> None:
    page = render(gather_content(dataset_stats(dataset, "num_correct > 5")))
    check_harmless(page)
    assert "There is no completion to learn from." in page
    assert "<script" not in page


def test_numbers_that_json_lacks_do_not_stop_a_page(tmp_path: Path) -> None:
    group = group_of(0, ["a", "b"], [3, 3])
    first = replace(group.completions[0], entropies=(0.5, float("nan"), float("inf")))
    group = replace(group, completions=(first, group.completions[1]))
    scores = GroupScores((RIGHT, WRONG), (0.0, 1.0), (float("inf"), float("nan")), {"format": (1.0, 1.0)})
    stats = dataset_stats(write_groups(tmp_path / "d", [group], [scores]))
    [shown] = groups_in(render(gather_content(stats)))
    assert {each["number"]: (each["reward"], each["advantage"]) for each in shown["completions"]} == {
        0: (0.0, None),
        1: (1.0, None),
    }


def test_bars_are_as_long_as_their_share() -> None:
    drawn = bar_chart([Bar("<b>", [(3, "right"), (1, "quiet")], "4 & 5"), Bar("none", [(0, "right")], "0")], 4)
    assert re.findall(r'class="(\w+)" style="width:([\d.]+)%"', drawn) == [("right", "75.00"), ("quiet", "25.00")]
    assert "&lt;b&gt;" in drawn
    assert "4 &amp; 5" in drawn


def test_mirrored_histograms_share_a_scale_and_a_heat_map_colours_by_share() -> None:
    drawn = mirrored([0, 2], [4, 0], ("a", "b"), ("right", "wrong"), 44)
    # the highest is 44 - 4 = 40 high, so 2 of 4 are 20, standing on the axis at 44
    assert re.findall(r'rect class="(\w+)" .*? y="([\d.]+)" .*?height="([\d.]+)"', drawn) == [
        ("right", "24.0", "20.0"),
        ("wrong", "44.0", "40.0"),
    ]
    cells = re.findall(
        r'rect class="(\w+)" fill-opacity="([\d.]+)"', heat_map([[4, 1]], [[0.5, 0.4]], ("", ""), ("", ""))
    )
    assert cells == [("right", "1.00"), ("wrong", "0.57")]  # 0.15 + 0.85 sqrt(1 / 4) = 0.575
