"""What every source gives: bytes, and words for where they are from."""

from __future__ import annotations

import msgspec


class Text(msgspec.Struct, frozen=True):
    """What a source holds; `source` says for people where it is from, at the time of reading.

    `problem` is why it is an earlier copy, if it is one. Of a file over the limit only
    so much is read that the limit is seen to be passed.
    """

    data: bytes
    source: str
    problem: str = ""
