"""What the name of a source stands for: a data card, a file, a dataset on the Hub, or a task of reasoning-gym."""

from __future__ import annotations

import re
from pathlib import Path

from distill.cards import (
    DATA_SUFFIXES,
    USUAL_SPLIT,
    Card,
    CardColumns,
    CardSplit,
    CardVerifier,
    HubDataset,
    Role,
    load_card,
)
from distill.config import ColumnsConfig, SourceConfig
from distill.errors import DistillError
from distill.problems.gym import KIND, PREFIX, GymTask
from distill.problems.mapping import RowMapping
from distill.problems.rows import check_file
from distill.problems.source import ProblemSource
from distill.registry import did_you_mean

HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
RAW_METADATA = ("category", "subject", "task", "type", "level", "difficulty", "seed")


def read_problems(source: SourceConfig, *, role: Role, verifier: str | None = None) -> ProblemSource:
    """The problems that a source config names; nothing is fetched before they are iterated.

    Args:
        role: what they are for; it picks the split where none is named, and a card may forbid it.
        verifier: overrules the card's verifier.

    Raises:
        DistillError: no such card, file, split or task, the card is not meant for this role, or a setting has
            nothing to set here. What is wrong inside the data is raised while iterating.

    >>> problems = read_problems(SourceConfig(name="arithmetic", limit=2), role="benchmark")
    >>> problems.split, [problem.id for problem in problems]
    ('test', ['arithmetic/test/00000', 'arithmetic/test/00001'])
    """
    path = _file(source)
    card = _card(source, path, role)
    if role not in card.roles:
        raise DistillError(
            f"data card '{card.name}' is a {card.roles[0]} only, it cannot serve as {role}",
            hint="to use the data all the same, name a card of your own or the file itself",
        )
    if path is not None and not (role == "benchmark" and card.hub is not None and card.hub.parts):
        check_file(path)  # a folder is for benchmarks of several parts
    split = source.split or card.default_split(role)
    if split not in card.splits:
        raise DistillError(f"'{card.name}' has no split '{split}'", hint=did_you_mean(split, list(card.splits)))
    _check_settings(source, card, path)
    mapping = RowMapping(
        card,
        split,
        _columns(card, source.columns),
        source.answer_after or card.answer_after,
        marker_needed=source.answer_after is not None,
        verifier=verifier,
    )
    return ProblemSource(
        card,
        split,
        mapping,
        path,
        source.limit,
        tuple((what, name) for what, name in source.columns.model_dump().items() if name),
        streaming=source.streaming,
        gym=_task(source, verifier) if source.name.startswith(PREFIX) else None,
    )


def is_hub_name(name: str) -> bool:
    """Whether a name is read as that of a dataset on the Hub.

    >>> is_hub_name("openai/gsm8k"), is_hub_name("gsm8k"), is_hub_name("data/test.csv"), is_hub_name("./mine")
    (True, False, False, False)
    """
    return HUB_NAME.fullmatch(name) is not None and not name.endswith((".md", *DATA_SUFFIXES))


def _file(source: SourceConfig) -> Path | None:
    """The local file that is read, if one is."""
    path = Path(source.path).expanduser() if source.path else None
    if source.name.endswith(DATA_SUFFIXES):
        if path is not None:
            raise DistillError(
                f"both source.name '{source.name}' and source.path '{source.path}' name a file", hint="give one of them"
            )
        path = Path(source.name).expanduser()
    if path is not None and not path.is_dir():
        check_file(path)
    return path


def _card(source: SourceConfig, path: Path | None, role: Role) -> Card:
    """The data card that is named, or what a source without one is taken for."""
    name = source.name
    if name.startswith(PREFIX):
        return _plain_card(name, name, ("train", "test")).model_copy(update={"verifier": CardVerifier(kind=KIND)})
    if is_hub_name(name):
        if path is None and Path(name).exists():  # which the datasets library would read instead
            check_file(Path(name))
        hub = HubDataset(id=name, config=source.config, revision=source.revision or "main")
        card = _plain_card(name, f"{name} on the Hub", (source.split or USUAL_SPLIT[role],))
        return card.model_copy(update={"hub": hub})
    if name and not name.endswith(DATA_SUFFIXES):
        card = load_card(name)
        if card.hub is None or source.revision is None:
            return card
        return card.model_copy(update={"hub": card.hub.model_copy(update={"revision": source.revision})})
    if path is None:
        raise DistillError(
            "no source is named", hint="--set source.name=gsm8k, or a file; 'distill list sources' shows the data cards"
        )
    if source.split:
        raise DistillError(f"'{path}' has no splits, but split '{source.split}' is asked for", hint="leave it out")
    return _plain_card(path.name.partition(".")[0] or path.name, str(path), ("all",))


def _plain_card(name: str, title: str, splits: tuple[str, ...]) -> Card:
    """What data without a card are taken for: the usual columns, a choice where there are options, else maths."""
    return Card(
        name=name,
        title=title,
        licence="unknown",
        roles=("source", "benchmark"),
        splits={split: CardSplit() for split in splits},
        default_splits={"source": splits[0], "benchmark": splits[-1]},
        metadata={key: (key,) for key in RAW_METADATA},
        answer_after="####",
        verifier=CardVerifier(kind="choice", without_options="math"),
    )


def _check_settings(source: SourceConfig, card: Card, path: Path | None) -> None:
    """Refuse settings that nothing here listens to: whoever wrote them expects something of them."""
    is_task = source.name.startswith(PREFIX)
    from_hub = card.hub is not None and path is None
    heard = {
        "path": not is_task,
        "columns": not is_task,
        "answer_after": not is_task,
        "revision": from_hub,
        "streaming": from_hub,
        "config": from_hub and is_hub_name(source.name),
        "seed": is_task,
        "options": is_task,
    }
    for name, has_effect in heard.items():
        value = getattr(source, name)
        if not has_effect and value != SourceConfig.model_fields[name].default:
            raise DistillError(
                f"source.{name} is {value!r}, which means nothing for '{source.name or source.path}'",
                hint="leave it out; docs/config.md says which sources it is for",
            )


def _task(source: SourceConfig, verifier: str | None) -> GymTask:
    if source.limit is None:
        raise DistillError(f"'{source.name}' has no end, so source.limit is needed", hint="say --limit 1000")
    task = GymTask(source.name.removeprefix(PREFIX), source.seed, source.options)
    task.check_verifier(verifier)
    return task


def _columns(card: Card, named: ColumnsConfig) -> CardColumns:
    """The card's columns, those that the user named in their place."""
    return card.columns.model_copy(update={what: (name,) for what, name in named.model_dump().items() if name})
