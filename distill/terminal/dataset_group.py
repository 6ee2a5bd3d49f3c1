"""One group of a dataset: its problem, and its completions side by side, with what was said of each."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from distill.printable import one_line, printable
from distill.records import Completion, Group, GroupScores
from distill.terminal.charts import sparkline
from distill.terminal.colours import ENTROPY_STYLES, GREY, OUTCOME_SIGN, OUTCOME_STYLE, entropy_style
from distill.terminal.consoles import print_json, stdout
from distill.terminal.dataset import signed
from distill.terminal.drawing import PICTURE_WIDTH, write_svg

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

    from distill.curate.marked import Piece

SHOWN_ANSWER = 60
"""Characters of an extracted answer; the whole of it stands in the completion below."""
SHOWN_CHARACTERS = 6_000
"""Of a completion, or a question: its beginning and its end, where the answer is read."""
PANEL_WIDTH = 52
"""Columns from which a completion can be read; a wider terminal has several beside each other."""
ENTROPY_BINS = 40
MARKED = 1.4
"""Entropy in nats from which a token is put in brackets where there are no colours."""


@dataclass(frozen=True, slots=True)
class GroupView:
    """How groups are shown."""

    entropy: bool = False
    """Colour tokens by their entropy."""
    full: bool = False
    """Show long texts from end to end."""
    harmful: bool = False
    """Show completions that were judged harmful."""


def show_group(detail: tuple[Group, GroupScores], view: GroupView | None = None, *, as_json: bool = False) -> None:
    """One problem with all its completions, the best first."""
    if as_json:
        group, scores = detail
        return print_json({"group": group, "scores": scores})
    return _print_group(*detail, view or GroupView())


def draw_group(path: Path, dataset: str, detail: tuple[Group, GroupScores]) -> None:
    """One group as a picture, its tokens coloured by entropy."""
    page = group_page(*detail, GroupView(entropy=True), PICTURE_WIDTH)
    command = shlex.join(["distill", "inspect", dataset, "--group", detail[0].problem.id, "--entropy"])
    write_svg(path, page, one_line(command))


def show_groups(details: Sequence[tuple[Group, GroupScores]], *, as_json: bool = False) -> None:
    """Several problems, one below the other."""
    if as_json:
        return print_json([{"group": group, "scores": scores} for group, scores in details])
    for number, detail in enumerate(details):
        if number:
            stdout().rule(style="dim")
        _print_group(*detail, GroupView())
    return None


def _print_group(group: Group, scores: GroupScores, view: GroupView) -> None:
    console = stdout()
    has_colours = console.is_terminal and not console.no_color
    for renderable in group_page(group, scores, view, console.width, has_colours=has_colours):
        console.print(renderable)


def group_page(
    group: Group, scores: GroupScores, view: GroupView, width: int, *, has_colours: bool = True
) -> Iterator[RenderableType]:
    """A group's page for a terminal of so many columns.

    Args:
        has_colours: without them answers and tokens of high entropy stand in brackets.
    """
    from distill.curate.marked import by_advantage, open_tokens

    fate = f"dropped: {one_line(scores.drop_reason)}" if scores.drop_reason else "kept"
    correct = sum(verdict.score == 1 for verdict in scores.verdicts)
    solved = f"solved {correct}/{len(group.completions)}"
    facts = " · ".join((solved, fate, one_line(group.teacher) or "no teacher"))
    yield Text.assemble((one_line(group.problem.id), "bold"), (f"  {facts}", GREY))
    yield Padding(_question(group, view), (1, 2), expand=False)
    options = group.problem.options
    for letter, option in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", options, strict=False):
        yield Text(f"  {letter}  {one_line(option)}")
    yield Text.assemble("  gold ", (printable(group.problem.answer), "bold"))
    tokenizer = open_tokens(group.teacher) if view.entropy else None
    if view.entropy:
        yield _legend(has_colours=has_colours)
    panels = [_panel(i, group, scores, _Drawing(view, tokenizer, has_colours)) for i in by_advantage(group, scores)]
    across = max(1, min(len(panels), width // PANEL_WIDTH))
    for start in range(0, len(panels), across):
        row = Table.grid(expand=True, padding=(0, 1, 0, 0) if across > 1 else 0)
        for _ in range(across):
            row.add_column(ratio=1)
        row.add_row(*panels[start : start + across])
        yield row


@dataclass(frozen=True, slots=True)
class _Drawing:
    view: GroupView
    tokenizer: Tokenizer | None
    has_colours: bool


def _question(group: Group, view: GroupView) -> Text:
    from distill.curate.marked import cut_out

    text = Text()
    question = group.problem.question
    most = len(question) if view.full else SHOWN_CHARACTERS
    place = 0
    for start, end in cut_out(question, most):
        if start > place:
            text.append(_left_out(start - place), style=GREY)
        text.append(printable(question[start:end]))
        place = end
    return text


def _left_out(number: int) -> str:
    return f"\n… {number:,} characters left out; --full shows them …\n"


def _legend(*, has_colours: bool) -> Text:
    if not has_colours:
        return Text(f"  ‹ › around tokens of {MARKED} nats or more", style=GREY)
    legend = Text("  entropy of a token, nats: ", style=GREY)
    lower = 0.0
    for limit, style in ENTROPY_STYLES:
        words = f" {lower:g}+ " if limit == float("inf") else f" {lower:g}–{limit:g} "
        legend.append(words, style=style)
        lower = limit
    return legend


def _panel(i: int, group: Group, scores: GroupScores, drawing: _Drawing) -> Panel:
    completion, verdict = group.completions[i], scores.verdicts[i]
    style = OUTCOME_STYLE[verdict.outcome]
    answer = f" {_short(repr(verdict.answer))}" if verdict.answer is not None else ""
    title = Text(one_line(f"#{i} {OUTCOME_SIGN[verdict.outcome]} {verdict.outcome.value}{answer}"), f"bold {style}")
    head = Text.assemble(
        (f"advantage {signed(scores.advantages[i])}", "bold"),
        f"  reward {signed(scores.rewards[i])}",
    )
    how = [f"{name} {signed(values[i])}" for name, values in scores.reward_parts.items()]
    how += [f"{completion.num_tokens:,} tokens" if completion.num_tokens >= 0 else "", verdict.reason]
    how += [{"stop": "", "length": "cut off"}.get(completion.finish_reason, "end not known")]
    if completion.entropies:
        how.append(f"entropy {sum(completion.entropies) / len(completion.entropies):.2f}")
    facts = Text(" · ".join(one_line(word) for word in how if word), style=GREY)
    return Panel(
        Stack(head, facts, Text(), *_body(group, scores, i, drawing)),
        title=title,
        title_align="left",
        border_style=style,
    )


def _body(group: Group, scores: GroupScores, i: int, drawing: _Drawing) -> Iterator[Text]:
    from distill.curate.marked import is_harmful, shown_pieces, token_entropies, token_texts

    completion, verdict = group.completions[i], scores.verdicts[i]
    if is_harmful(group, verdict) and not drawing.view.harmful:
        yield Text("judged to do what it should refuse; --show-harmful shows it", style=GREY)
        return
    texts = token_texts(drawing.tokenizer, completion) if drawing.view.entropy else None
    if drawing.view.entropy and texts is None and token_entropies(completion) is not None:
        yield _strip(completion)
    shown = Text()
    most = len(completion.text) if drawing.view.full else SHOWN_CHARACTERS
    for piece in shown_pieces(completion, verdict, texts, most):
        if piece.left_out:
            shown.append(_left_out(piece.left_out), style=GREY)
        else:
            shown.append(*_styled(printable(piece.text), piece, drawing))
    yield shown


def _styled(words: str, piece: Piece, drawing: _Drawing) -> tuple[str, str]:
    if not drawing.has_colours:
        marked = f"»{words}«" if piece.is_answer else words
        return (f"‹{marked}›" if piece.entropy is not None and piece.entropy >= MARKED else marked), ""
    answer = "bold reverse" if piece.entropy is None else "bold underline"
    return words, f"{answer if piece.is_answer else ''} {entropy_style(piece.entropy or 0.0)}".strip()


def _strip(completion: Completion) -> Text:
    """Entropies from the first to the last token, where the tokens' texts are not known."""
    from distill.curate.marked import entropy_strip, token_entropies

    means = entropy_strip(token_entropies(completion) or (), ENTROPY_BINS)
    drawn = sparkline([round(1000 * mean) for mean in means])
    return Text(f"entropy from first to last token (the teacher's tokenizer is not at hand): {drawn}", style=GREY)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_ANSWER else text[:SHOWN_ANSWER] + "…"
