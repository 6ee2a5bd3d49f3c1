"""Write docs/cli.md and docs/config.md from the code; ``--check`` only says whether they are current."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer.main
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from distill.cli import app
from distill.config import CurateConfig, EvalConfig, TrainConfig

DOCS = Path(__file__).parents[1] / "docs"
NOTE = "<!-- Written by scripts/build_docs.py; run `make docs` after a change. -->\n\n"


def cli_page() -> str:
    command = [sys.executable, "-m", "typer", "distill.cli", "utils", "docs", "--name", "distill"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    page = re.sub(r"<span[^>]*>(distill [^<]*)</span>", r"    \1", page)  # the examples become code blocks
    page = re.sub(r"</?span[^>]*>", "", page)
    page = re.sub(r"((?:^    distill .*\n)+)", r"\n\1\n", page, flags=re.MULTILINE)
    page = html.unescape(page).replace("# `distill`", "# Command line", 1)
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        sentence = (command.help or "").split("\n\n")[0].replace("\n", " ")  # the list cuts it short
        page = re.sub(rf"^\* `{name}`: .*$", f"* [`{name}`](#distill-{name}): {sentence}", page, flags=re.MULTILINE)
    return NOTE + re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def config_page() -> str:
    lines = [
        "# Every field of a recipe",
        "",
        "A recipe is a YAML file with the sections `curate`, `train` and `eval`; `base: NAME` beside them begins with",
        "another recipe and changes what it says. `--set a.b=c` sets one field of the command's own section, and",
        "`--print-config` prints the resolved recipe.",
    ]
    for section, model in (("curate", CurateConfig), ("train", TrainConfig), ("eval", EvalConfig)):
        lines += ["", f"## `{section}`", "", "| field | type | default | what |", "| --- | --- | --- | --- |"]
        lines += [_row(*field) for field in _fields(model, "")]
    return NOTE + "\n".join(lines) + "\n"


def _fields(model: type[BaseModel], prefix: str) -> list[tuple[str, str, Any, str]]:
    rows = []
    for name, field in model.model_fields.items():
        inner = next((a for a in (field.annotation, *get_args(field.annotation)) if _is_config(a)), None)
        if inner is not None and not str(field.annotation).startswith("dict"):
            rows += _fields(inner, f"{prefix}{name}.")
        else:
            default = field.default if field.default is not PydanticUndefined else "required"
            rows.append((prefix + name, _type_name(field.annotation), default, field.description or ""))
    return rows


def _is_config(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _type_name(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return " or ".join(map(_type_name, get_args(annotation)))
    if origin is Literal:
        return " or ".join(map(repr, get_args(annotation)))
    if annotation is ... or annotation is None.__class__:
        return "..." if annotation is ... else "None"
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_type_name, get_args(annotation)))}]"
    return getattr(annotation, "__name__", str(annotation))


def _row(path: str, kind: str, default: Any, what: str) -> str:
    if isinstance(default, dict):
        default = {key: value.model_dump() if isinstance(value, BaseModel) else value for key, value in default.items()}
    cells = [
        f"`{path}`",
        f"`{kind}`",
        f"`{default!r}`" if default != "required" else "required",
        " ".join(what.split()),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    stale = []
    for name, page in (("cli.md", cli_page()), ("config.md", config_page())):
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != page:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(page, encoding="utf-8")
    print(f"written: {', '.join(stale)}" if stale else "docs are current")
    if stale and "--check" in sys.argv:
        sys.exit("run 'make docs' and commit what it writes")


if __name__ == "__main__":
    main()
