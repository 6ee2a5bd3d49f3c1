"""The frame of a page: one file that opens without a network, in which nothing runs but a script of ours."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

from distill.page.style import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is fetched and no script runs, whatever a label holds."""


def document(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """The whole page as text.

    Args:
        body: HTML, whose texts are escaped already.
        script: the only one that a browser will run, whatever else stands in the page; by its digest.
    """
    policy, running = POLICY, ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy, running = f"{POLICY}; script-src 'sha256-{digest}'", f"<script>{script}</script>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head>\n"
        f"<body>{body}{running}</body></html>\n"
    )


def embedded(name: str, values: Any) -> str:
    """Values as JSON inside a page, for its script to read; no text in them can end the element.

    >>> embedded("x", ["</script><!--"])
    '<script type="application/json" id="x">["\\\\u003c/script\\\\u003e\\\\u003c!--"]</script>'
    """
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{escape(name)}">{text}</script>'
