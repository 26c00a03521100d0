"""A report as a plain page: no script, no style, readable in light and dark."""

from __future__ import annotations

import json
from html import escape

from textgen.evaluation.report import Report


def page(report: Report, title: str, stylesheet: str | None) -> str:
    """The whole document."""
    link = "" if stylesheet is None else f'<link rel="stylesheet" href="{escape(stylesheet)}">\n'
    body = escape(json.dumps(report.as_dict(), ensure_ascii=False, indent=2))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n{link}</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"<pre>{body}</pre>\n</body>\n</html>\n"
    )
