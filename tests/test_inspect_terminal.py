"""What a terminal shows of datasets and groups: at every width, in every theme, of every text."""

from __future__ import annotations

import io
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from click.testing import Result
from rich.cells import cell_len
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from distill.cli import app
from distill.curate.changes import compare_datasets
from distill.curate.chosen import group_detail
from distill.curate.findings import solved_rows
from distill.curate.group_list import list_groups
from distill.curate.marked import answer_span, cut_out, marked_pieces, open_tokens, token_texts
from distill.curate.stats import Stats, dataset_stats
from distill.errors import DistillError
from distill.records import Completion, Outcome, Verdict
from distill.terminal.charts import pieces, shade, skyline
from distill.terminal.colours import BLUE, ENTROPY_STYLES, GOLD, GREY, ORANGE, PURPLE
from distill.terminal.dataset import draw_stats, overview
from distill.terminal.dataset_changes import changes_page
from distill.terminal.dataset_group import GroupView, group_page
from distill.terminal.dataset_list import group_list
from tests.inspect_parts import RIGHT, WRONG, group_of, hand_made, one_group, with_text, write_groups

LONG = "a\nvery/long/name/of/a/problem/that/fits/nowhere/" * 3 + "数学问题"
UNFRIENDLY = "[bold]x[/] \x1b[2J\x9b2J \u202egnp.exe\r\n\x07"


def drawn(renderables: list[RenderableType] | tuple[RenderableType, ...], width: int, *, colours: bool = False) -> str:
    """What a console of this width prints."""
    console = Console(
        width=width, file=io.StringIO(), force_terminal=colours, color_system="truecolor" if colours else None
    )
    with console.capture() as captured:
        for renderable in renderables:
            console.print(renderable)
    return captured.get()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_groups(tmp_path / "made", *hand_made())


@pytest.fixture
def unfriendly(tmp_path: Path) -> Path:
    """A dataset of names that are long, wide, and made to confuse a screen."""
    groups, scores = hand_made()
    named = [
        replace(
            group,
            teacher=UNFRIENDLY,
            problem=replace(group.problem, id=f"{LONG}{UNFRIENDLY}{index}", question=UNFRIENDLY + LONG),
            completions=tuple(
                replace(each, model=f"{UNFRIENDLY}{place}") for place, each in enumerate(group.completions)
            ),
        )
        for index, group in enumerate(groups)
    ]
    verdicts = (Verdict(Outcome.CORRECT, UNFRIENDLY, UNFRIENDLY), Verdict(Outcome.NO_ANSWER, None, LONG))
    scores = [
        replace(scored, verdicts=verdicts, drop_reason=UNFRIENDLY * bool(scored.drop_reason)) for scored in scores
    ]
    return write_groups(tmp_path / "unfriendly", named, scores)


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_every_view_fits_its_width_and_commands_no_terminal(unfriendly: Path, dataset: Path, width: int) -> None:
    stats = dataset_stats(unfriendly)
    views = {
        "overview": list(overview(stats, width)),
        "list": group_list(list_groups(unfriendly, sort="-tokens_max"), width),
        "comparison": list(changes_page(compare_datasets(unfriendly, dataset), width)),
        "group": list(group_page(*group_detail(unfriendly, stats.best[0].id), GroupView(entropy=True), width)),
    }
    for name, view in views.items():
        text = drawn(view, width)
        assert max(map(cell_len, text.splitlines())) <= width, name
        assert not set("\x1b\x9b\u202e\r\x07") & set(text), name
        assert "␛[2J" in text, name
    for line in views["list"][2:7]:  # the head and a line for each of four groups
        assert drawn([line], width).count("\n") == 1


def test_two_charts_stand_side_by_side_where_there_is_room(dataset: Path) -> None:
    stats = dataset_stats(dataset)
    wide, narrow = (drawn(list(overview(stats, width)), width).splitlines() for width in (120, 80))
    questions = ("How often are problems solved?", "What do the verdicts say?")
    assert sum(all(question in line for question in questions) for line in wide) == 1
    assert sum(question in line for line in narrow for question in questions) == 2
    assert not any(all(question in line for question in questions) for line in narrow)


def test_the_overview_begins_with_what_the_dataset_is_worth(dataset: Path) -> None:
    lines = drawn(list(overview(dataset_stats(dataset), 200)), 200).splitlines()
    assert lines[2].startswith("2 of 4 groups teach (50 %), 50 % of completions are correct")
    assert lines[3].startswith("▲ 1 kept groups (25 %) teach nothing")
    assert '--where "kept and reward_std == 0"' in lines[3]
    [key] = [line for line in lines if "2 teach" in line]
    assert key.split() == [
        "█",
        "2",
        "teach",
        "▒",
        "1",
        "kept,",
        "but",
        "nothing",
        "to",
        "compare",
        "░",
        "1",
        "dropped:",
        "no_correct",
    ]
    [solved] = [line for line in lines if line.startswith("0/2")]
    assert "░" in solved  # the group that nobody solved is dropped
    assert "█" not in solved.split("25.0 %")[0]


def test_an_empty_choice_is_said_and_draws_no_chart(dataset: Path) -> None:
    text = drawn(list(overview(dataset_stats(dataset, "num_correct > 5"), 80)), 80)
    assert "There is no completion to learn from." in text
    assert "where num_correct > 5: 0 of 4 groups" in text
    assert "solved?" not in text


def test_completions_stand_beside_each_other_in_a_wide_terminal_and_in_turn_in_a_narrow_one(dataset: Path) -> None:
    detail = group_detail(dataset, "p/0")
    wide, narrow = (drawn(list(group_page(*detail, GroupView(), width)), width).splitlines() for width in (120, 80))
    assert sum("#0 ✓" in line and "#1 ✗" in line for line in wide) == 1
    assert not any("#0 ✓" in line and "#1 ✗" in line for line in narrow)
    assert any("advantage 0.00  reward +2.00" in line for line in narrow)


def test_the_answer_is_marked_in_colour_and_without_colours_in_brackets(tmp_path: Path) -> None:
    group = group_of(0, [r"so \boxed{1}.", "2"], [3, 3])
    detail = group_detail(one_group(tmp_path / "d", group, (RIGHT, WRONG)), "p/0")
    plain = drawn(list(group_page(*detail, GroupView(), 80, has_colours=False)), 80)
    assert r"so \boxed{»1«}." in plain
    coloured = drawn(list(group_page(*detail, GroupView(), 80)), 80, colours=True)
    assert "\x1b[1;7m1\x1b[0m" in coloured  # bold and reversed
    assert "»" not in coloured


def test_tokens_are_coloured_by_entropy_where_the_tokenizer_is_at_hand(tmp_path: Path) -> None:
    tokenizer = open_tokens("tiny-teacher")
    assert tokenizer is not None
    ids = tuple(tokenizer.encode("1+0=1", add_special_tokens=False).ids)
    completion = Completion("1+0=1", ids, entropies=(0.0, 3.0, 0.3, 0.0, 0.0), logprobs=(0.0,) * 5)
    group = replace(group_of(0, ["x"], [1]), teacher="tiny-teacher", completions=(completion,))
    detail = group_detail(one_group(tmp_path / "d", group, (RIGHT,)), "p/0")
    coloured = drawn(list(group_page(*detail, GroupView(entropy=True), 80)), 80, colours=True)
    assert "\x1b[38;2;255;255;255;48;2;168;50;10m+\x1b[0m" in coloured  # 3 nats: white on the darkest
    plain = drawn(list(group_page(*detail, GroupView(entropy=True), 80, has_colours=False)), 80)
    assert "1‹+›0=»1«" in plain
    unknown = group_detail(one_group(tmp_path / "e", replace(group, teacher="nobody"), (RIGHT,)), "p/0")
    assert "the teacher's tokenizer is not at hand" in drawn(
        list(group_page(*unknown, GroupView(entropy=True), 80)), 80
    )


def test_a_very_long_completion_is_cut_unless_asked_for_in_full(tmp_path: Path) -> None:
    group = with_text(group_of(0, ["a", "b"], [3, 3]), 0, "begin " + "x " * 500_000 + "end")
    detail = group_detail(one_group(tmp_path / "d", group, (RIGHT, WRONG)), "p/0")
    cut = drawn(list(group_page(*detail, GroupView(), 80)), 80)
    assert len(cut) < 30_000
    assert "994,009 characters left out; --full shows them" in cut  # 6 + 1,000,000 + 3 - 6,000
    assert "begin x" in cut
    assert "x end" in cut
    assert drawn(list(group_page(*detail, GroupView(full=True), 80)), 80).count("x") > 500_000 - 1


def test_what_should_have_been_refused_is_shown_only_when_asked_for(tmp_path: Path) -> None:
    group = group_of(0, ["I will not.", "Sure, here is how"], [3, 4], answer="", verifier="refusal")
    detail = group_detail(one_group(tmp_path / "d", group, (RIGHT, WRONG)), "p/0")
    shown = drawn(list(group_page(*detail, GroupView(), 120)), 120)
    assert "I will not." in shown
    assert "Sure" not in shown
    assert "judged to do what it should refuse; --show-harmful" in shown
    assert "Sure, here is how" in drawn(list(group_page(*detail, GroupView(harmful=True), 120)), 120)


SPANS = {
    "the box": (r"4 and \boxed{4}, and 4 again", "4", "4", 13),
    "the last box": (r"\boxed{4} \boxed{4}", "4", "4", 17),
    "the last place": ("4, or rather 4.", "4", "4", 13),
    "behind the thinking": ("<think>5</think> 5 <think>", "5", "", -1),
    "inside the tags": ("5 <answer> 5 </answer> 5", "5", "5", 11),
    "no answer": ("nothing", None, "", -1),
    "another spelling": ("one half", "1/2", "", -1),
}


@pytest.mark.parametrize("name", SPANS)
def test_the_answer_is_found_where_the_verifier_reads(name: str) -> None:
    text, answer, found, start = SPANS[name]
    span = answer_span(Completion(text), Verdict(Outcome.CORRECT, answer))
    assert (text[slice(*span)], span[0]) == (found, start) if span else (found, start) == ("", -1)


def test_pieces_of_a_completion_are_its_text_whatever_is_marked() -> None:
    tokenizer = open_tokens("tiny-teacher")
    assert tokenizer is not None
    text = "1+½=12 ✓ so 12"
    ids = tuple(tokenizer.encode(text, add_special_tokens=False).ids)
    completion = Completion(text, ids, entropies=(1.0,) * len(ids))
    texts = token_texts(tokenizer, completion)
    assert texts is not None
    assert len(texts) == len(ids)
    for span in (None, (5, 6), (0, len(text))):
        found = list(marked_pieces(completion, span, texts))
        assert "".join(piece.text for piece in found) == text
        assert "".join(piece.text for piece in found if piece.is_answer) == (text[slice(*span)] if span else "")
    assert token_texts(tokenizer, replace(completion, text="another text")) is None
    assert token_texts(tokenizer, replace(completion, token_ids=(10**9, *ids[1:]))) is None
    assert open_tokens("no/such/model") is None
    assert open_tokens("not a name:?") is None


def test_the_stretches_of_a_long_text_never_overlap_and_keep_what_is_asked() -> None:
    assert cut_out("x" * 100, 20, (95, 97)) == [(0, 10), (90, 100)]
    assert cut_out("x" * 100, 20, (12, 13)) == [(0, 18), (90, 100)]


def test_the_pieces_of_a_bar_fill_it_and_leave_nothing_out() -> None:
    assert pieces([1, 1, 999_998], 1_000_000, 50) == [1, 1, 48]
    assert pieces([0, 0], 0, 10) == [0, 0]


def test_a_skyline_is_as_high_as_its_counts_and_shades_go_by_the_root() -> None:
    assert skyline([0, 8, 16, 1], 2, 4) == ["  █ ", " ██▁"]
    assert [shade(count, 16) for count in (0, 1, 4, 9, 16)] == [" ", "▒", "▓", "█", "█"]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it, 0 for black and 1 for white."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [BLUE, ORANGE, GOLD, PURPLE, GREY])
def test_colours_stand_out_from_black_and_from_white(colour: str) -> None:
    assert (luminance(colour) + 0.05) / 0.05 > 3.9
    assert 1.05 / (luminance(colour) + 0.05) > 3.9


@pytest.mark.parametrize("style", [style for _, style in ENTROPY_STYLES if style])
def test_a_coloured_token_can_be_read_whatever_the_theme(style: str) -> None:
    ink, paper = (luminance(colour) for colour in style.split(" on "))
    assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 4.5


def test_darker_colours_stand_for_higher_entropies() -> None:
    papers = [luminance(style.split(" on ")[1]) for _, style in ENTROPY_STYLES if style]
    assert papers == sorted(papers, reverse=True)


def test_a_picture_is_text_that_fetches_nothing(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    draw_stats(tmp_path / "a.svg", dataset_stats(dataset))
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "groups&#160;teach" in svg
    assert "url(http" not in svg
    assert "@font-face" not in svg
    assert BLUE in svg


def test_of_large_groups_the_solve_rates_are_put_together() -> None:
    stats = dataset_stats_of_rates([0] * 3 + [1, 8, 9] + [63] * 2 + [64], 64)
    assert solved_rows(stats) == [
        ("0/64", 3, 0),
        ("1–8/64", 2, 0),
        ("9–16/64", 1, 1),
        *((f"{low}–{low + 7}/64", 0, 0) for low in range(17, 57, 8)),
        ("57–63/64", 2, 2),
        ("64/64", 1, 1),
    ]


def dataset_stats_of_rates(solved: list[int], size: int) -> Stats:
    """Numbers of groups that solved so many; those with less than nine are dropped."""
    counts = [solved.count(k) for k in range(size + 1)]
    stats = Stats(**dict.fromkeys((field.name for field in fields(Stats)), None))  # type: ignore[arg-type]
    kept = tuple(count * (k > 8) for k, count in enumerate(counts))
    return replace(stats, group_size=size, pass_rates=tuple(counts), pass_rates_kept=kept)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["inspect", *map(str, arguments)])


def test_the_command_writes_what_is_asked_for_and_says_where(dataset: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "picture.svg"
    ended = run(dataset, "--where", "kept", "--html", page, "--svg", picture)
    assert ended.exit_code == 0, ended.output
    assert f"page: {page}" in ended.stderr
    assert f"picture: {picture}" in ended.stderr
    assert "3 of 4 groups" in page.read_text(encoding="utf-8")
    assert run(dataset, dataset, "--html", page, "--svg", picture).exit_code == 0
    assert "The same charts of both" in page.read_text(encoding="utf-8")
    assert "What&#160;changed?" in picture.read_text(encoding="utf-8")


def test_the_command_gives_machines_the_same_numbers(dataset: Path) -> None:
    overview_json = json.loads(run(dataset, "--json").stdout)
    assert overview_json["headline"].startswith("2 of 4 groups teach")
    assert {finding["where"] for finding in overview_json["findings"]} >= {"inverted"}
    listed = json.loads(run(dataset, "--sort", "-tokens_max", "--limit", 2, "--json").stdout)
    assert (listed["total"], [group["id"] for group in listed["groups"]]) == (4, ["p/1", "p/0"])
    compared = json.loads(run(dataset, dataset, "--json").stdout)
    assert (compared["common"], compared["solved_more"], compared["before"]["groups"]) == (4, 0, 4)
    assert {line["change"] for line in compared["changes"]} == {"="}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("A", "B", "C"), "3 datasets were named"),
        (("A", "B", "--group", "p/0"), "'--group' is about one dataset"),
        (("A", "--group", "p/0", "--where", "kept"), "'--where' is about many"),
        (("A", "--sort", "id", "--html", "x"), "'--html' shows the whole"),
        (("A", "--entropy"), "'--entropy' is about one group"),
    ],
)
def test_options_that_do_not_go_together_are_told(arguments: tuple[str, ...], words: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, DistillError)
    assert words in str(error)
