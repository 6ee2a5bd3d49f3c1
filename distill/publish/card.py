"""Cards: a template filled with facts, put into what people have made of an earlier one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from distill.cards import cards_folder
from distill.errors import DistillError
from distill.recipe import parse_yaml

BEGIN, END = "<!-- distill: what stands between", "<!-- distill: end -->"
FIELD = re.compile(r"\{\{(\w+)\}\}")
GENERATED = re.compile(re.escape(BEGIN) + r".*?" + re.escape(END), re.DOTALL)
FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n|)---[ \t]*(?:\n|\Z)", re.DOTALL)
SECRETS = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,})")
CREDENTIALS = re.compile(r"(?<=://)[^\s/@\"']+@")
HIDDEN = "***"
LINKED = ("configs", "dataset_info")
"""Metadata that is a list with one entry per config."""
OWNED = ("size_categories", "base_model", "library_name", "model-index")
"""Metadata that says what the files are, and not what people think of them."""


def template_path(kind: str) -> Path:
    """Where the template of a kind of card lies: 'dataset' or 'model'."""
    return cards_folder() / "templates" / f"{kind}.md"


def fill_template(kind: str, fields: Mapping[str, str], metadata: Mapping[str, Any]) -> str:
    """A whole card: the template's text with these fields, its metadata and what comes on top.

    Raises:
        KeyError: the template names a field that is not there.
    """
    template = template_path(kind).read_text(encoding="utf-8")
    text = FIELD.sub(lambda found: fields[found[1]], template)
    front, body = split_card(text)
    tags = list(dict.fromkeys([*front.get("tags", ()), *metadata.get("tags", ())]))
    return join_card({**front, **{key: value for key, value in metadata.items() if value}, "tags": tags}, body)


def merge_card(existing: str, fresh: str, settled: Sequence[str] = ()) -> str:
    """A card that people may have edited, with the parts that are ours written anew.

    Of the text that is what stands between the marks; a card without marks keeps its text, and ours follows. Metadata
    of theirs stay, but for what describes the files (configs of ours, sizes); tags are those of both.

    Args:
        settled: metadata that the fresh card decides, because somebody asked for it.

    Raises:
        DistillError: the existing card's metadata cannot be read.
    """
    if not existing.strip():
        return fresh
    old, old_body = split_card(existing)
    new, new_body = split_card(fresh)
    merged: dict[str, Any] = {**new, **old}
    merged |= {key: new[key] for key in (*OWNED, *settled) if key in new}
    merged["tags"] = list(dict.fromkeys([*(old.get("tags") or ()), *(new.get("tags") or ())]))
    for key in LINKED:
        if key in new:
            merged[key] = _linked(old.get(key), new[key])
    generated = GENERATED.search(new_body)
    ours = generated[0] if generated else new_body.strip()
    if GENERATED.search(old_body):
        return join_card(merged, GENERATED.sub(lambda _: ours, old_body, count=1))
    return join_card(merged, f"{old_body.rstrip()}\n\n{ours}\n" if old_body.strip() else new_body)


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """A card's metadata, and its text.

    Raises:
        DistillError: the metadata are no YAML mapping.
    """
    found = FRONT_MATTER.match(text)
    if found is None:
        return {}, text
    try:
        front = parse_yaml(found[1])
    except yaml.YAMLError as error:
        problem = str(getattr(error, "problem", error))
        raise DistillError(
            f"the card's metadata are no valid YAML: {problem}", hint="mend the README.md on the Hub"
        ) from None
    if front is not None and not isinstance(front, dict):
        raise DistillError("the card's metadata are no mapping", hint="mend the README.md on the Hub")
    return front or {}, text[found.end() :]


def join_card(metadata: Mapping[str, Any], body: str) -> str:
    """A card's text with its metadata on top."""
    front = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{front}---\n" + body


def hide_secrets(text: str, secrets: Sequence[str] = ()) -> str:
    r"""A text for everybody: without tokens, the credentials in addresses and the name of one's home.

    >>> hide_secrets("curl https://me:word@host/v1 -H hf_abcdefghijklmnopqrst"), hide_secrets("a key", ["key"])
    ('curl https://***@host/v1 -H ***', 'a ***')
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN) if secret else text
    text = CREDENTIALS.sub(f"{HIDDEN}@", SECRETS.sub(HIDDEN, text))
    home = str(Path.home())
    return re.sub(re.escape(home) + r"(?=[/\\\s\"']|$)", "~", text) if len(home) > 1 else text


def cell(value: object) -> str:
    r"""A value in a Markdown table.

    >>> cell("a|b\nc <i>")
    'a\\|b c &lt;i>'
    """
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def table_rows(rows: Sequence[tuple[object, ...]]) -> str:
    """The lines of a Markdown table."""
    return "\n".join(f"| {' | '.join(cell(value) for value in row)} |" for row in rows)


def fenced(text: str, language: str = "") -> str:
    """A block of code, whatever the text holds."""
    fence = "`" * max(3, *(len(found) + 1 for found in re.findall(r"`{3,}", text)), 3)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def licence_id(name: str) -> str | None:
    """The Hub's identifier of a licence; None where a text names none, or several.

    >>> licence_id("Apache-2.0"), licence_id("MIT, and the terms of each exam"), licence_id("unknown")
    ('apache-2.0', None, None)
    """
    found = name.strip().lower()
    return found if re.fullmatch(r"[a-z0-9][a-z0-9.-]*", found) and found not in {"unknown", "none"} else None


def _linked(old: Any, new: Any) -> list[Any]:
    """Entries of configs: ours, and those of others that bear other names."""
    before = old if isinstance(old, list) else [old] if isinstance(old, dict) else []
    ours = {entry["config_name"]: entry for entry in new}
    others = [entry for entry in before if isinstance(entry, dict) and entry.get("config_name") not in ours]
    # ours is the default config, and there is one only
    return [*ours.values(), *({key: value for key, value in entry.items() if key != "default"} for entry in others)]
