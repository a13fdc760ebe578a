"""Units come as lines, in batches, whatever the lines look like."""

from __future__ import annotations

import io
import itertools
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollout.errors import InvalidValue, SourceProblem
from rollout.sources import units
from rollout.sources.units import LONGEST_UNIT_BYTES, Units, open_units


class Pieces(io.RawIOBase):
    """A stream that hands out its bytes in pieces, as a pipe does."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.left = filter(None, pieces)
        self.rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.rest or next(self.left, b"")
        size = min(len(buffer), len(piece))
        buffer[:size], self.rest = piece[:size], piece[size:]
        return size


def read(*pieces: bytes) -> tuple[list[bytes], int]:
    """(units, number of empty lines)."""
    stream = io.BufferedReader(Pieces(pieces))
    found = Units(stream, "units.txt")
    listed = list(itertools.chain.from_iterable(found))
    assert found.found == len(listed)
    return listed, found.empty


_line = st.text(st.characters(exclude_characters="\n\r", codec="utf-8"))


@given(st.lists(_line), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans(), st.data())
def test_whatever_the_ends_and_the_pieces_each_line_is_a_unit(
    lines: list[str], end: str, final: bool, bom: bool, data: st.DataObject
) -> None:
    text = end.join(lines) + (end if final and lines and lines[-1] else "")
    if lines and lines[0].startswith("\ufeff"):
        return
    raw = (b"\xef\xbb\xbf" if bom else b"") + text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    edges = [0, *cuts, len(raw)]
    pieces = [raw[a:b] for a, b in itertools.pairwise(edges)]
    listed, empty = read(*pieces)
    assert listed == [line.encode() for line in lines if line]
    assert empty <= lines.count("")


@pytest.mark.parametrize(
    ("text", "expected", "empty"),
    [
        (b"", [], 0),
        (b"\n", [], 1),
        (b"a", [b"a"], 0),
        (b"a\n", [b"a"], 0),
        (b"\n\na\n\nb\n", [b"a", b"b"], 3),
        (b"a\r\n\r\nb\r\n", [b"a", b"b"], 1),
        (b"a\na\na\n", [b"a", b"a", b"a"], 0),
        (b" a \n\t\n", [b" a ", b"\t"], 0),
        (b"a\0b\n", [b"a\0b"], 0),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", [b"a", b"\xef\xbb\xbfb"], 0),
        ("\u2028\x85\n".encode(), ["\u2028\x85".encode()], 0),
    ],
)
def test_lines_are_taken_as_they_stand(text: bytes, expected: list[bytes], empty: int) -> None:
    assert read(text) == (expected, empty)


def test_only_the_very_first_bytes_can_be_a_mark() -> None:
    assert read(b"a\n", b"\xef\xbb\xbfb\n") == ([b"a", b"\xef\xbb\xbfb"], 0)
    assert read(b"\xef", b"\xbb", b"\xbfa") == ([b"a"], 0)


@pytest.mark.parametrize("size", [1_000_000, LONGEST_UNIT_BYTES])
def test_a_line_of_a_megabyte_is_a_unit(size: int) -> None:
    listed, _ = read(b"a\n" + b"x" * size + b"\nb")
    assert [len(unit) for unit in listed] == [1, size, 1]


@pytest.mark.parametrize("end", [b"", b"\n", b"\nb\n"])
def test_a_line_of_more_is_named(end: bytes) -> None:
    with pytest.raises(InvalidValue, match=r"units\.txt:3: the unit has more than 1,048,576 bytes"):
        read(b"a\nb\n" + b"x" * (LONGEST_UNIT_BYTES + 1) + end)


def test_an_endless_line_ends_the_reading() -> None:
    stream = io.BufferedReader(Pieces(itertools.repeat(b"x" * 65_536)))
    with pytest.raises(InvalidValue, match=r"units\.txt:1: the unit has more than"):
        list(Units(stream, "units.txt"))


@given(st.integers(0, 3), st.integers(0, 3))
@example(0, 0)
def test_a_surrogate_is_named_with_its_line(before: int, after: int) -> None:
    text = b"a\n" * before + b"x\xed\xa0\x80y\n" + b"b\n" * after
    with pytest.raises(InvalidValue) as caught:
        read(b"first\n", text)
    shown = r"\xed\xa0\x80"
    assert caught.value.message == (
        f"units.txt:{before + 2}: the unit x{shown}y is not text that UTF-8 can carry"
    )
    assert caught.value.exit_code == 2


def test_millions_of_units_take_constant_memory() -> None:
    piece = b"".join(b"app-%07d\n" % number for number in range(10_000))
    stream = io.BufferedReader(Pieces([piece] * 100))
    tracemalloc.start()
    try:
        found = Units(stream, "units.txt")
        for _ in found:
            pass
        assert found.found == 1_000_000
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_file_is_opened_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "units.txt"
    path.write_bytes(b"a\nb")
    read_bytes: list[int] = []
    with open_units(str(path), read_bytes.append) as found:
        assert list(itertools.chain.from_iterable(found)) == [b"a", b"b"]
    assert sum(read_bytes) == 3


@pytest.mark.parametrize("name", [".", "no.txt", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceProblem, match="cannot be read") as caught, open_units(name) as found:
        list(found)
    assert caught.value.hint


def test_the_batches_are_small_enough_to_be_many() -> None:
    stream = io.BytesIO(b"app\n" * 200_000)
    assert len(list(Units(stream, "x"))) >= (4 * 200_000) // units._CHUNK_BYTES
