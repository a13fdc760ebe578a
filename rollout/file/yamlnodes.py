"""Text -> the nodes of one YAML document, each of which knows its place in the text.

Composes with PyYAML's pure-Python loader, whose marks are right after a BOM and
outside the BMP (the C loader's are not), and constructs nothing. Aliases, anchors
and tags are refused and the depth is bounded, so that no text is an anchor bomb.
Knows nothing of flags.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from rollout.errors import Problem

DEEPEST = 20
"""More than any flags file needs, and far less than Python's stack."""

MOST = 150_000
"""Nodes: more than a sensible file of 1 MiB has; each costs some 700 bytes."""

_REFUSED = "tidegate:refused"
_TEXT_TAG = "tag:yaml.org,2002:str"
_NULL_TAG = "tag:yaml.org,2002:null"
_BOOL_TAG = "tag:yaml.org,2002:bool"

# Plain scalars that PyYAML takes for text and another reader may not: the one-letter
# booleans of YAML 1.1, and the octal and float forms that YAML 1.2 added.
_ONE_LETTER_BOOL = re.compile(r"[yYnN]")
_ONLY_IN_1_2 = re.compile(r"0o[0-7]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def compose(text: str) -> tuple[Node | None, list[Problem]]:
    """The root node, None if there is none, and all that is wrong with the text as YAML.

    A syntax error ends the reading, so there is at most one of that kind.
    """
    loader: _Loader | None = None
    problems: list[Problem] = []
    try:
        loader = _Loader(text, problems)
        return loader.get_single_node(), problems
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
        column = error.position - (text.rfind("\n", 0, error.position) + 1)
        sign = ascii(chr(error.character))[1:-1] if isinstance(error.character, int) else "?"
        problems.append(
            Problem(line + 1, column + 1, f"the character {sign} is not valid in YAML", "remove it")
        )
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(error))
    except (ValueError, OverflowError):
        # PyYAML turns an escape such as "\UFFFFFFFF" into a character without looking.
        mark = loader.get_mark() if loader else None
        problems.append(
            _problem_at(mark, "an escape in quotes names no character", "correct the escape")
        )
    return None, problems


def problem(node: Node, message: str, fix: str) -> Problem:
    """A problem at the place where `node` begins."""
    return _problem_at(node.start_mark, message, fix)


def is_refused(node: Node) -> bool:
    """Whether the node stands for something that `compose` has already reported."""
    return bool(node.tag == _REFUSED)


def is_plain(node: ScalarNode) -> bool:
    """Whether the scalar is written without quotes and not as a block."""
    return node.style is None


def kind(node: Node) -> str:
    """What a YAML reader makes of the node, in a word with its article."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    if not isinstance(node, ScalarNode) or not is_ambiguous(node):
        return "text"
    if node.tag == _NULL_TAG:
        return "empty"
    if node.value == "<<":
        return "a merge"
    if node.tag == _BOOL_TAG or _ONE_LETTER_BOOL.fullmatch(node.value):
        return "a boolean"
    return "a date" if node.tag.endswith(":timestamp") else "a number"


def is_ambiguous(node: ScalarNode) -> bool:
    """Whether some YAML reader takes the scalar for something else than the text it shows."""
    if not is_plain(node):
        return False
    return (
        node.tag != _TEXT_TAG
        or _ONE_LETTER_BOOL.fullmatch(node.value) is not None
        or _ONLY_IN_1_2.fullmatch(node.value) is not None
    )


class _Loader(yaml.SafeLoader):
    """Composes bounded, and puts what is refused on a list instead of raising."""

    def __init__(self, text: str, problems: list[Problem]) -> None:
        super().__init__(text)
        self.problems = problems
        self.depth = 0
        self.nodes = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call] # untyped stub
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call] # untyped stub
            self._refuse(event, f"an alias (*{event.anchor})", "write the value out")
            return ScalarNode(_REFUSED, "", mark, mark)
        if event.anchor is not None:
            self._refuse(event, f"an anchor (&{event.anchor})", "remove it")
            event.anchor = None
        if event.tag is not None:
            self._refuse(event, f"a tag ({event.tag})", "remove it")
        if self.depth == DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"nested more than {DEEPEST} deep", problem_mark=event.start_mark
            )
        self.nodes += 1
        if self.nodes > MOST:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MOST} values", problem_mark=event.start_mark
            )
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def _refuse(self, event: Any, what: str, fix: str) -> None:
        self.problems.append(
            _problem_at(event.start_mark, f"{what} is not allowed in a flags file", fix)
        )


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    said = " ".join(part for part in (error.context, error.problem) if part)
    fix = "correct the YAML there, or just before it"
    if "'\\t'" in said:
        fix = "indent with spaces"
    elif "another document" in said:
        fix = "keep one document in the file"
    elif said.startswith("nested"):
        fix = "a flags file needs six levels"
    return _problem_at(error.problem_mark or error.context_mark, said, fix)


def _problem_at(mark: yaml.Mark | None, message: str, fix: str) -> Problem:
    line, column = (mark.line, mark.column) if mark else (0, 0)
    return Problem(line + 1, column + 1, message, fix)
