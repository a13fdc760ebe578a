"""The pieces of every page. Every text from outside goes through `text`.

The pages' own policy forbids all but their inline style, so that even a mistake here could
load and run nothing.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources

from rollout.wording import printable

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def text(value: object) -> str:
    """`value` as it can stand in HTML, between tags or in an attribute."""
    return html.escape(printable(str(value)), quote=True)


def document(title: str, body: str, *, root: str = "", made: str = "") -> str:
    """A whole page; `root` leads from it to the top of the site, `made` is when it was made."""
    links = (("index.html", "Flags"), ("deploys.html", "Deploys"), ("units.html", "Units"))
    nav = "".join(f'<a href="{root}{page}">{name}</a>' for page, name in links) if made else ""
    foot = f"<footer>tidegate, made {text(made)}</footer>" if made else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{text(title)}</title>
<style>
{_style()}</style>
</head>
<body>
{f"<nav>{nav}</nav>" if nav else ""}
{body}
{foot}
</body>
</html>
"""


def section(title: str, body: str) -> str:
    """A card; nothing without a body."""
    return f"<section><h2>{text(title)}</h2>{body}</section>" if body else ""


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names with their values; those that say nothing are left out."""
    cells = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs if value
    )
    return f"<dl>{cells}</dl>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = ()) -> str:
    """A table of cells that are HTML already; the columns `numbers` are set to the right."""
    kinds = dict.fromkeys(numbers, ' class="number"')
    head = "".join(f"<th{kinds.get(name, '')}>{text(name)}</th>" for name in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{kinds.get(name, '')}>{cell}</td>" for name, cell in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{inner}</table></div>'


def badge(word: str, tone: str) -> str:
    return f'<span class="badge {tone}">{text(word)}</span>'


def listed(items: Iterable[str]) -> str:
    """Texts as a list; nothing without any."""
    found = "".join(f"<li>{text(item)}</li>" for item in items)
    return f"<ul>{found}</ul>" if found else ""


def legend(entries: Mapping[str, str]) -> str:
    """Names with the tone of their line."""
    found = "".join(
        f'<span class="{tone}"><i></i>{text(name)}</span>' for name, tone in entries.items()
    )
    return f'<div class="legend">{found}</div>'


@cache
def _style() -> str:
    return resources.files("rollout.outcomes.site").joinpath("style.css").read_text("utf-8")
