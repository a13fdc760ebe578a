"""Where a unit stands between 0 and 100 percent, for a salt.

The bucket is a published standard, flagd's `fractional` operator, in either of the two
generations that providers hash today, pinned by tests/vectors. Changing anything here
moves every unit of every flag, everywhere. This file knows nothing of flags.

    bucket  = (murmur3_x86_32(text, seed 0, unsigned) * 100_000) >> 32
    flagd-3   text = the canonical CBOR (RFC 8949) of the array [salt, unit] of two texts
    flagd-2   text = the UTF-8 of the salt and behind it that of the unit
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Literal, NamedTuple, TypeAlias

from mmh3 import mmh3_32_uintdigest as digest

from rollout.errors import InvalidValue
from rollout.wording import show

BUCKETS = 100_000
"""Buckets are 0..99999, a thousandth of a percent each."""

Generation: TypeAlias = Literal["flagd-3", "flagd-2"]
GENERATIONS: tuple[Generation, ...] = ("flagd-3", "flagd-2")

_ARRAY_OF_TWO = b"\x82"
_TEXT = 0x60
_LONGEST_WITH_HEAD = 255


class Draw(NamedTuple):
    """What units are drawn with: equal draws have equal cohorts, different ones independent."""

    salt: str
    generation: Generation = "flagd-3"


def bucket(draw: Draw, unit: str) -> int:
    """The bucket, 0..99999, of `unit`.

    Raises InvalidValue for text that UTF-8 cannot carry (a lone surrogate).
    """
    return bucket_of(hash32(draw, unit))


def bucket_of(hash32: int) -> int:
    """The bucket, 0..99999, that a hash falls into."""
    return (hash32 * BUCKETS) >> 32


def hash32(draw: Draw, unit: str) -> int:
    """The hash, 0..2**32-1, of `unit`; raises as `bucket` does."""
    # Encoded before mmh3 sees it: several of its releases crash on a lone surrogate.
    data = _utf8(unit, "unit")
    return digest(head(draw, len(data)) + data)


def limit(threshold: int) -> int:
    """The smallest hash that is outside: `hash < limit(t)` exactly when `bucket < t`.

    Comparing hashes saves a decision the multiplication and the shift, which
    together cost as much as the hash.
    """
    return -(-(threshold << 32) // BUCKETS)


@lru_cache(maxsize=256)
def heads(draw: Draw) -> tuple[bytes, ...]:
    """All that goes before a unit's own bytes, indexed by their number, 0 to 255.

    With it the hash of a unit of up to 255 bytes costs one concatenation:
    `digest(heads[len(data)] + data)`. Longer units go the long way, through `hash32`.
    """
    start = _start(draw)
    if draw.generation == "flagd-2":
        return (start,) * (_LONGEST_WITH_HEAD + 1)
    return tuple([start + size for size in _text_heads()])


def head(draw: Draw, size: int) -> bytes:
    """All that goes before the bytes of a unit that has `size` of them."""
    if size <= _LONGEST_WITH_HEAD:
        return heads(draw)[size]
    return _start(draw) + (b"" if draw.generation == "flagd-2" else _text_head(size))


def _start(draw: Draw) -> bytes:
    data = _utf8(draw.salt, "salt")
    return data if draw.generation == "flagd-2" else _ARRAY_OF_TWO + _text_head(len(data)) + data


@cache
def _text_heads() -> tuple[bytes, ...]:
    return tuple(map(_text_head, range(_LONGEST_WITH_HEAD + 1)))


def _text_head(size: int) -> bytes:
    """Major type 3 with the shortest length that fits (RFC 8949, 4.2.1)."""
    if size < 24:
        return bytes([_TEXT + size])
    for step, width in enumerate((1, 2, 4, 8)):
        if size < 1 << (8 * width):
            return bytes([_TEXT + 24 + step]) + size.to_bytes(width, "big")
    raise OverflowError(size)


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidValue(
            f"the {what} {show(text)} is not text that UTF-8 can carry",
            hint=f"give a {what} without lone surrogates",
        ) from None
