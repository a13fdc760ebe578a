"""The words of the programs and of the pages for users are an operator's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.test_pages import PAGES, literals

# What was written before, and what stands for it now.
QUAINT = {
    r"\bmend(?:s|ed|ing)?\b": "fix, recover",
    r"\bcomes? along\b": "bundled",
    r"if nobody says": "by default",
    r"\bwhoever\b": "name the one who acts",
    r"\bof nothing\b": "that matches no ...",
    r"\bis told on\b": "goes to",
    r"\bis as good\b": "is fine",
    r"(?<!there) is no (?:duration|command|bucketing|evidence|number)\b": "is not a valid ...",
    r"longer than nothing": "must be positive",
    r"\bnobody (?:said|says|answered|offers)\b": "not given; without an answer",
    r"\b(?:none|leave these) (?:in these|out)\.": "skip machines in these ...",
    r"\border of things\b": "order, strategy",
    r"\bthere by now\b": "created meanwhile",
    r"\bkeeps? the first one's\b": "inherits its place",
}
# Architecture and the contributor's pages are not for users; `hiccups_mended` is a field's name.
OF_USERS = [page for page in PAGES if page.name not in ("ARCHITECTURE.md", "CHANGELOG.md")]


@pytest.mark.parametrize("words", QUAINT)
def test_no_message_has_words_that_an_operator_would_not_use(words: str) -> None:
    found = [text for text in literals() if re.search(words, text, re.IGNORECASE)]
    shown = [text for text in found if text != "mended" and "GROUP BY" not in text]  # a column
    assert not shown, f"write {QUAINT[words]!r}: {shown}"


@pytest.mark.parametrize("page", OF_USERS, ids=lambda page: page.name)
def test_no_page_for_users_has_them_either(page: Path) -> None:
    text = page.read_text("utf-8")
    for words, better in QUAINT.items():
        found = re.findall(words, text, re.IGNORECASE)
        assert not found, f"write {better!r} for {found[0]!r}"
