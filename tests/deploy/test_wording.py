"""Nothing that comes from outside moves a cursor, changes a colour or breaks a line."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.wording import (
    count,
    natural,
    printable,
    seconds,
    short_image,
    short_version,
    shorten,
    table,
)


@given(st.text())
@example("\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \u202egnp.exe \ud800 a\r\nb\tc")
def test_text_from_outside_becomes_one_printable_line_that_utf8_can_carry(text: str) -> None:
    line = printable(text)
    assert line.isprintable()
    line.encode("utf-8")
    assert printable(line) == line


def test_an_escape_sequence_goes_as_a_whole() -> None:
    assert printable("a\x1b[1;31mred\x1b[0mb\x1b]8;;https://x\x07link\x1b]8;;\x1b\\") == "aredblink"


@given(st.text(), st.integers(1, 50))
def test_a_shortened_text_is_never_longer_than_its_limit(text: str, limit: int) -> None:
    assert len(shorten(text, limit)) <= limit
    assert len(printable(text, limit)) <= limit


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [
        (-1, "0.0 s"),
        (4.13, "4.1 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (125, "2 min 5 s"),
        (3599.9, "1 h"),
        (3720, "1 h 2 min"),
    ],
)
def test_seconds_are_said_in_the_largest_units(duration_s: float, words: str) -> None:
    assert seconds(duration_s) == words


def test_images_and_versions_are_shown_by_what_tells_them_apart() -> None:
    digest = "a1b2c3d4e5f6" + "0" * 52
    assert short_image(f"registry.fly.io/hello@sha256:{digest}") == "hello@a1b2c3d4e5f6"
    assert short_image("registry.fly.io/hello:v2") == "hello:v2"
    assert short_version("01JDVZ6Q1MW3R8X9Y2Z4A5B6C7") == "..4A5B6C7"[:2] + "Z4A5B6C7"
    assert short_version("v12") == "v12"


def test_names_sort_by_their_numbers() -> None:
    names = ["web-10", "web-2", "web", "", "7", "web-2b"]
    assert sorted(names, key=natural) == ["", "7", "web", "web-2", "web-2b", "web-10"]


@pytest.mark.parametrize(("number", "words"), [(1, "1 pass"), (2, "2 passes"), (0, "0 passes")])
def test_things_are_counted_in_plain_english(number: int, words: str) -> None:
    assert count(number, "pass") == words


def test_a_table_that_is_too_wide_loses_its_droppable_columns_in_their_order() -> None:
    rows = [("name", "id", "state"), ("web-1", "148e0000000000", "started")]
    assert table(rows) == ["name   id              state", "web-1  148e0000000000  started"]
    assert table(rows, width=80, droppable=("id",)) == table(rows)
    assert table(rows, width=20, droppable=("id",)) == ["name   state", "web-1  started"]
    assert table(rows, width=1, droppable=("id", "state")) == ["name", "web-1"]


def test_columns_that_say_nothing_are_left_out_of_a_table() -> None:
    assert table([("a", "b", "c"), ("1", "", "3")]) == ["a  c", "1  3"]
