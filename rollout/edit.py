"""Changes to the text of a flags file that touch nothing but the value meant.

A change replaces the span of one node, and counts only if the new text parses to
the intended flags and to nothing else. Pure: text in, text out.
"""

from __future__ import annotations

import re

import msgspec
from yaml import MappingNode, Node

from rollout import flagfile, yamlnodes
from rollout.errors import BadFlagFile, EditRefused, UnknownFlag
from rollout.flag import Ramp, percent_text
from rollout.flagfile import FlagFile

_LINE_END = re.compile(r"[\r\n]")


class Edit(msgspec.Struct, frozen=True):
    """A change of one line: its number from 1, that line before and after, and the new file."""

    line: int
    before: str
    after: str
    file: FlagFile


def set_percent(file: FlagFile, key: str, threshold: int) -> Edit | None:
    """Put the percentage of flag `key` at `threshold` (0..100000); None if it stands there.

    Raises UnknownFlag, and EditRefused for a flag with a ramp.
    """
    flag = file.flags.get(key)
    if flag is None:
        raise UnknownFlag(key, file.flags, file.source)
    if isinstance(flag.rollout, Ramp):
        raise EditRefused(
            f"{key} has a ramp, which sets its percentage by the clock",
            hint="change the ramp's steps, or put percent: in its place, in the file",
        )
    if flag.rollout == threshold:
        return None
    root, _ = yamlnodes.compose(file.text)
    node = _at(root, "flags", key, "percent")
    edit = _splice(file, node, percent_text(threshold))
    meant = {**file.flags, key: msgspec.structs.replace(flag, rollout=threshold)}
    if dict(edit.file.flags) != meant:
        raise EditRefused(
            f"{key} could not be changed without changing something else",
            hint="edit the number in the file by hand, then run rollout check",
        )
    return edit


def _at(node: Node | None, *path: str) -> Node:
    for step in path:
        if not isinstance(node, MappingNode):
            raise KeyError(step)
        node = next(value for key, value in node.value if key.value == step)
    if node is None:
        raise KeyError(path)
    return node


def _splice(file: FlagFile, node: Node, new: str) -> Edit:
    text, start, end = file.text, node.start_mark.index, node.end_mark.index
    changed = text[:start] + new + text[end:]
    try:
        parsed = flagfile.parse(changed, file.source)
    except BadFlagFile as error:
        raise EditRefused(
            f"the change would break the file: {error.message}", hint=error.hint
        ) from None
    line_start = max(text.rfind("\n", 0, start), text.rfind("\r", 0, start)) + 1
    return Edit(
        line=node.start_mark.line + 1,
        before=_line(text, line_start),
        after=_line(changed, line_start),
        file=parsed,
    )


def _line(text: str, start: int) -> str:
    end = _LINE_END.search(text, start)
    return text[start : end.start() if end else len(text)]
