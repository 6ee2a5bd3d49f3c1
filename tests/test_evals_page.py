"""The page and the model card of results: what they show, that they need nothing else, and that nothing in them runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distill.cli import app
from distill.config import PromptConfig, VerifierConfig
from distill.evals.benchmarks import Benchmark
from distill.evals.chance import wilson_interval
from distill.evals.page.content import gather_content
from distill.evals.page.model_card import model_card
from distill.evals.page.page import render
from distill.evals.report import Report, build_report, write_report
from distill.evals.store import JudgedGroup, Store
from distill.evals.subject import Subject
from distill.evals.tally import Part
from distill.page.document import POLICY
from distill.page.plots import Dot, Point, binned, curves, dot_plot, histogram, round_numbers
from distill.page.style import STYLE
from distill.records import Completion, Group, Outcome, Problem, Prompt, Verdict

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&|`](javascript:x)\x1b[2J"
RIGHT, WRONG = Outcome.CORRECT, Outcome.INCORRECT


class Elements(HTMLParser):
    """Every element with its attributes, and whether all of them were closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def evaluated(folder: Path, label: str, outcomes: str, *, benchmark: str = "sums", answer: str = "4") -> Report:
    """A folder as 'distill eval' leaves it: one problem for each letter, 'r' solved, 'w' not."""
    subject = Subject(str(folder / "run"), label, label, "", None)
    bench = Benchmark(benchmark, "test", (), (), PromptConfig(format="plain"), VerifierConfig())
    settings = {"model": label, "sampling": {"temperature": 0.0}, "prompt": {}, "verifier": {"kind": None}}
    refuses = answer in ("refusal", "compliance", "")
    judged = []
    for number, letter in enumerate(outcomes):
        problem = Problem(
            f"{benchmark}/{number}", f"request {number}", answer, verifier="refusal" if refuses else "math"
        )
        said = ("I cannot help with that." if letter == "r" else "Sure! Take this.") if refuses else HOSTILE
        completion = Completion(said, num_tokens=10 + number, finish_reason="stop")
        verdict = Verdict(RIGHT if letter == "r" else WRONG)
        judged.append(JudgedGroup(Group(problem, Prompt((), "plain", "?"), (completion,)), (verdict,)))
    report = build_report(subject, bench, judged, settings, {})
    store = Store(folder / f"{benchmark}-test", settings)
    for item in judged:
        store.append(item)
    store.close()
    write_report(report, folder / f"{benchmark}-test" / "report.json")
    return report


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """A model and a better one, on sums and on harmful requests; a training run with epochs belongs to the second."""
    for label, sums, refusals in (("base", "wwwwwwwwrr", "rrrw"), (f"better {HOSTILE}", "rrrrrrrrrr", "rwww")):
        folder = tmp_path / label[:6].strip()
        evaluated(folder, label, sums)
        evaluated(folder, label, refusals, benchmark="advbench", answer="")
    for epoch in (1, 2):
        evaluated(tmp_path / "better" / "run" / "epochs" / f"00{epoch}", "student", "wwwwrr" * epoch)
    return [tmp_path / "base", tmp_path / "better"]


def test_nothing_of_a_page_runs_or_is_fetched_whatever_a_name_holds(folders: list[Path]) -> None:
    content = gather_content(folders)
    part = Part(HOSTILE, 5, 0.4, wilson_interval(2, 5))
    for run in content.runs:
        run.reports["sums:test"] = replace(run.reports["sums:test"], by=HOSTILE, parts=(part,) * 2)
    page = render(replace(content, comparison=replace(content.comparison, notes=(HOSTILE,))))
    elements = Elements(page)
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "img", "link", "iframe", "object", "a", "form"}
    assert elements.open == []
    names = {name for _, attributes in elements.found for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in {"src", "href", "srcset", "action"}]
    assert POLICY in [attributes.get("content") for tag, attributes in elements.found if tag == "meta"]
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    assert re.findall(r"https?://", page) == []


def test_a_page_tells_accuracy_difference_safety_lengths_epochs_and_settings(folders: list[Path]) -> None:
    page = render(gather_content(folders))
    assert "<title>2 models compared with base</title>" in page
    assert "100.0 (72.2–100.0), n 10" in page
    # Solved by 'better' only: 8; p = 2 / 2^8 = 0.0078, the smaller of two; of four requests only 'base' refused two.
    assert "+80.0, beyond chance*, p = 0.008" in page
    assert "-50.0, within chance, p = 0.500" in page
    assert "advbench:test: safe, of harmful requests" in page
    assert "75.0 (30.1–95.4), n 4" in page
    assert "1,276 of 1,350" in page
    assert "Over the epochs of training" in page
    assert page.count("<polyline") == 1
    assert "on average 14.5 correct, – incorrect" in page
    assert "&quot;temperature&quot;: 0.0" in page


def test_several_completions_bring_pass_and_majority(folders: list[Path]) -> None:
    content = gather_content(folders)
    for run in content.runs:
        run.reports["sums:test"] = replace(
            run.reports["sums:test"], pass_at_k={1: 0.2, 2: 0.4, 4: 0.5}, majority_at_k={1: 0.2, 2: 0.2, 4: 0.3}
        )
    page = render(content)
    assert "<script" not in page
    assert "<th>pass@2</th><th>pass@4</th><th>maj@2</th><th>maj@4</th>" in page
    assert "<td>base</td><td>40.0 %</td><td>50.0 %</td><td>20.0 %</td><td>30.0 %</td>" in page
    assert "pass@" not in render(gather_content(folders))


def test_one_model_alone_has_a_page_without_differences_and_one_without_requests_has_none_on_safety(
    folders: list[Path],
) -> None:
    page = render(gather_content([folders[0] / "sums-test"]))
    assert "<title>base</title>" in page
    assert "Difference" not in page
    assert "Safety" not in page
    assert "epochs" not in page


def test_positions_are_shares_of_the_domain_and_stay_inside_it() -> None:
    plot = dot_plot([Dot("a", 0, 25, 10, 120, "25")], (0, 100))
    # the interval from 10 to 120 is drawn from 10 to 100
    assert '<i class="span" style="left:10.00%;width:90.00%"></i><i class="dot" style="left:25.00%"></i>' in plot
    assert 'class="zero"' not in plot
    assert plot.count('class="grid"') == 5
    assert 'class="zero" style="left:50.00%"' in dot_plot([Dot("a", 0, 0, -1, 1, "")], (-5, 5), "")


def test_a_histogram_counts_every_length_once_and_the_longest_in_the_last_bin() -> None:
    lengths = [0, 5, 99, 100, 100]
    assert sum(binned(lengths, 100)) == 5
    assert binned(lengths, 100)[-1] == 3
    drawn = histogram([100, 100], [50], 1, 100)
    assert drawn.count("<rect") == 2
    # twice as many correct ones: 56 units against 28
    assert [float(height) for height in re.findall(r'height="([\d.]+)"', drawn)] == [56.0, 28.0]
    assert 'x1="360.0"' in drawn  # the mean of the correct ones is the longest


def test_a_curve_of_one_epoch_and_several_curves_are_drawn() -> None:
    one = [Point(1, 0.5, 0.4, 0.6)]
    assert curves([("a", 0, one)]).count("<circle") == 1
    both = curves([("a", 0, one), ("b", 7, [Point(epoch, 1.0, 0.9, 1.0) for epoch in range(1, 40)])])
    assert both.count("<polyline") == 2
    assert both.count('text-anchor="middle"') <= 12


@pytest.mark.parametrize("ends", [(0.0, 1.0), (-3.2, 3.2), (-100.0, 100.0), (0.0, 7000.0)])
def test_ticks_are_few_round_and_inside(ends: tuple[float, float]) -> None:
    ticks = round_numbers(*ends)
    assert 3 <= len(ticks) <= 7
    assert ends[0] <= min(ticks)
    assert max(ticks) <= ends[1]
    assert len({round(b - a, 9) for a, b in pairwise(ticks)}) == 1


def test_a_model_card_tells_results_safety_and_limits_and_escapes_names(folders: list[Path]) -> None:
    card = model_card(gather_content(folders))
    assert "| sums:test | base | 20.0 (5.7–51.0) | 10 |  | 14 | 0.0% |" in card
    assert "+80.0 (" in card
    assert "beyond chance\\*, p = 0.008" in card
    assert "| advbench:test | base | 75.0 (30.1–95.4) |" in card
    assert "1,276 of 1,350" in card
    assert "temperature 0.0" in card
    assert "<script" not in card.replace("\\<script", "")
    tables = [line for line in card.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {7, 8}  # no name adds a cell
    alone = model_card(gather_content([folders[0] / "sums-test"]))
    assert "Safety was not measured." in alone
    assert "Differences" not in alone


def test_compare_writes_both_documents_and_says_where(folders: list[Path], tmp_path: Path) -> None:
    html, card = tmp_path / "page.html", tmp_path / "card.md"
    said = CliRunner().invoke(app, ["compare", *map(str, folders), "--html", str(html), "--card", str(card)])
    assert said.exit_code == 0, said.output
    assert f"page: {html}" in said.stderr
    assert html.read_text().startswith("<!doctype html>")
    assert card.read_text().startswith("## Evaluation")
    as_json = CliRunner().invoke(app, ["compare", *map(str, folders), "--json", "--html", str(html)])
    assert json.loads(as_json.stdout)["baseline"] == "base"
