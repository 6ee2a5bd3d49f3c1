"""Fail when a page of the built site would load anything from another host: ``check_site.py site``."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

FOREIGN = re.compile(r"^\s*(?:[a-z]+:)?//", re.IGNORECASE)
IN_CSS = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)")
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
NOT_LOADED = {"canonical", "next", "prev", "alternate"}


class _Loads(HTMLParser):
    """Addresses that a browser asks for by itself; links that a reader may follow are none."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and set((values.get("rel") or "").split()) & NOT_LOADED:
            return
        address = values.get(LOADING.get(tag, "")) or ""
        if FOREIGN.match(address):
            self.found.append(address)
        if "mermaid" in (values.get("class") or "").split():  # which the theme's script fetches from a foreign host
            self.found.append("a mermaid diagram")


def foreign_loads(site: Path) -> list[str]:
    """What pages and style sheets load from elsewhere, each with its file."""
    found = []
    for path in sorted(site.rglob("*.html")):
        page = _Loads()
        page.feed(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(site)}: {address}" for address in page.found]
    for path in sorted(site.rglob("*.css")):
        found += [
            f"{path.relative_to(site)}: {address}" for address in IN_CSS.findall(path.read_text(encoding="utf-8"))
        ]
    return found


def main() -> None:
    site = Path(sys.argv[1])
    found = foreign_loads(site)
    if found or not any(site.rglob("*.html")):
        sys.exit("\n".join(found) or f"'{site}' holds no page")
    print(f"{len(list(site.rglob('*.html')))} pages, nothing loaded from another host")


if __name__ == "__main__":
    main()
