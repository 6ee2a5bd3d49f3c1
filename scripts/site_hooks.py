"""What the site needs beyond docs/: pages from elsewhere in the repository, links between them, equations as MathML.

Links in Markdown are written for who reads the files in the repository; here they are turned to where a file stands in
the site. Equations become MathML when the site is built, so that no script has to be fetched to draw them.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).parents[1]
BESIDE_DOCS = ("benchmarks/results/*.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?\)")
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_config(config: Any) -> Any:
    """Leave pages out of the navigation that are not written yet."""
    config.nav = _written(config.nav)
    return config


def _written(nav: Any) -> Any:
    if isinstance(nav, list):
        return [entry for entry in map(_written, nav) if entry]
    if isinstance(nav, dict):
        inner = {title: _written(entry) for title, entry in nav.items()}
        return {title: entry for title, entry in inner.items() if entry}
    return nav if (REPOSITORY / "docs" / nav).exists() or (REPOSITORY / nav).exists() else None


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie beside docs/."""
    for pattern in BESIDE_DOCS:
        for path in sorted(REPOSITORY.glob(pattern)):
            name = path.relative_to(REPOSITORY).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001
    """Turn links to where a file stands in the site."""
    name = page.file.src_uri
    source = name if (REPOSITORY / name).exists() else f"docs/{name}"

    def turned(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        inside = target.removeprefix("docs/")
        return f"{match[1]}{posixpath.relpath(inside, posixpath.dirname(name) or '.')}{match[3] or ''})"

    return LINK.sub(turned, markdown)


def on_page_content(content: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001
    """Equations as MathML."""

    def drawn(match: re.Match[str]) -> str:
        return convert(html.unescape(match[3]), display="block" if match[2] == "[" else "inline")

    return EQUATION.sub(drawn, content)
