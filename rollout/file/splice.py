"""Where a flag's keys and values stand in the text, and the spans that change them.

Works on block and on flow style, keeps quotes, indentation, comments and line ends.
Knows nothing of what the values mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from yaml import MappingNode, Node, ScalarNode, SequenceNode

from rollout.errors import EditRefused
from rollout.file import yamlnodes

_COMMA_AFTER = re.compile(r"[ \t]*,[ \t]*")
_COMMA_BEFORE = re.compile(r"[ \t]*,[ \t]*$")
_REST_OF_LINE = re.compile(r"[^\r\n]*")
_LINE_END = re.compile(r"\r\n|\n|\r")


class Span(NamedTuple):
    """The text from `start` up to `end` becomes `new`."""

    start: int
    end: int
    new: str


class Entry(NamedTuple):
    """A key with its value."""

    key: ScalarNode
    value: Node


def splice(text: str, spans: Iterable[Span]) -> str:
    """`text` with all the spans, which do not overlap, replaced."""
    for start, end, new in sorted(spans, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def flag_texts(text: str) -> dict[str, FlagText]:
    """Each flag, by its name, in the text of a flags file that is in order."""
    root, _ = yamlnodes.compose(text)
    line_end = _LINE_END.search(text)
    flags = _entries(_entries(root)["flags"].value)
    return {
        key: FlagText(text, line_end[0] if line_end else "\n", entry)
        for key, entry in flags.items()
    }


class FlagText:
    """One flag in the text of a flags file."""

    def __init__(self, text: str, line_end: str, flag: Entry) -> None:
        self._text = text
        self._line_end = line_end
        self._name, self._node = flag
        self.entries = _entries(self._node)

    def place(self, key: str) -> tuple[int, int]:
        """Line and column, from 1, of the value of `key`; of the flag's name without such a key."""
        entry = self.entries.get(key)
        mark = entry.value.start_mark if entry else self._name.start_mark
        return mark.line + 1, mark.column + 1

    def items(self, key: str) -> list[dict[str, Entry]]:
        """The mappings in the list that `key` holds."""
        value = self.entries[key].value
        return [_entries(item) for item in value.value]

    def put(self, key: str, new: str) -> Span:
        """Another value for a key; the quotes around it stay."""
        return self.rewritten(self.entries[key].value, new)

    def rewritten(self, scalar: Node, new: str) -> Span:
        """The same for any scalar."""
        start, end = scalar.start_mark.index, scalar.end_mark.index
        quote = (
            scalar.style if isinstance(scalar, ScalarNode) and scalar.style in ("'", '"') else ""
        )
        return Span(start, end, f"{quote}{new}{quote}")

    def insert_before(self, place: str, key: str, value: str) -> Span:
        """A new key and value before the key `place`."""
        at = self.entries[place].key.start_mark.index
        if self._is_flow:
            return Span(at, at, self._pair(key, value) + ", ")
        return Span(at, at, f"{key}: {value}{self._line_end}{self._indentation(at)}")

    def remove(self, key: str, *, keeping: str = "") -> Span:
        """No such key: with its whole line in block style.

        With `keeping`, a key that shares its line with a comment stays and gets this value.
        """
        entry = self.entries[key]
        start, end = entry.key.start_mark.index, _end(entry.value)
        if self._is_flow:
            if comma := _COMMA_AFTER.match(self._text, end):
                return Span(start, comma.end(), "")
            before = _COMMA_BEFORE.search(self._text, 0, start)
            return Span(before.start() if before else start, end, "")
        line_end = self._end_of_line(end)
        if keeping and self._text[end:line_end].strip():
            return self.put(key, keeping)
        indentation = len(self._indentation(start))
        if newline := _LINE_END.match(self._text, line_end):
            return Span(start - indentation, newline.end(), "")
        last = _LINE_END.search(self._text[: start - indentation][-2:])
        return Span(start - indentation - (len(last[0]) if last else 0), line_end, "")

    def put_list(
        self, old: str, key: str, items: Sequence[Sequence[tuple[str, str]]]
    ) -> list[Span]:
        """The key `old` and its value become `key` with a list of mappings, one on each line.

        A comment behind `old` stays where it is.
        """
        entry = self.entries[old]
        start, end = entry.key.start_mark.index, _end(entry.value)
        written = ["{" + ", ".join(self._pair(*pair) for pair in item) + "}" for item in items]
        if self._is_flow:
            quote = self._quote
            return [Span(start, end, f"{quote}{key}{quote}: [{', '.join(written)}]")]
        if isinstance(entry.value, SequenceNode) and old == key:
            start = entry.value.start_mark.index
            if entry.value.flow_style:
                return [Span(start, end, f"[{', '.join(written)}]")]
            between = f"{self._line_end}{self._indentation(start)}"
            return [Span(start, end, between.join(f"- {item}" for item in written))]
        inner = self._line_end + self._indentation(start) + "  - "
        behind = self._end_of_line(end)
        below = "".join(inner + item for item in written)
        if "#" in self._text[entry.key.end_mark.index : entry.value.start_mark.index]:
            raise EditRefused(
                f"there is a comment between {old}: and its value", hint="move it, then try again"
            )
        return [Span(start, end, f"{key}:"), Span(behind, behind, below)]

    @property
    def _is_flow(self) -> bool:
        return isinstance(self._node, MappingNode) and bool(self._node.flow_style)

    @property
    def _quote(self) -> str:
        """The quotes around keys, which JSON needs, if this flag has them in flow style."""
        first = next(iter(self.entries.values())).key
        return '"' if self._is_flow and first.style == '"' else ""

    def _pair(self, key: str, value: str) -> str:
        if quote := self._quote:
            plain = re.fullmatch(r"true|false|[0-9.]+", value)
            return f'"{key}": {value if plain else quote + value + quote}'
        return f"{key}: {value}"

    def _indentation(self, index: int) -> str:
        """What stands before `index` on its line, which must be blanks."""
        start = max(self._text.rfind("\n", 0, index), self._text.rfind("\r", 0, index)) + 1
        before = self._text[start:index]
        if before.strip(" "):
            raise EditRefused(f"{before.strip()} is on the same line", hint="edit the file by hand")
        return before

    def _end_of_line(self, index: int) -> int:
        rest = _REST_OF_LINE.match(self._text, index)
        return rest.end() if rest else index


def _entries(node: Node | None) -> dict[str, Entry]:
    if not isinstance(node, MappingNode):
        raise TypeError(node)
    return {key.value: Entry(key, value) for key, value in node.value}


def _end(node: Node) -> int:
    """Where the node's own text ends; the mark of one in block style is behind comments."""
    if isinstance(node, MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1])
    if isinstance(node, SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    return int(node.end_mark.index)
