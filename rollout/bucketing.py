"""Where a unit stands between 0 and 100 percent, for a salt.

The bucket is a published standard: the third generation of flagd's `fractional`
operator, pinned by tests/vectors/bucketing.json. Changing anything here moves
every unit of every flag, everywhere. This file knows nothing of flags.

    bucket = (murmur3_x86_32(cbor([salt, unit]), seed 0, unsigned) * 100_000) >> 32

`cbor` is the canonical RFC 8949 encoding of an array of two text strings.
"""

from __future__ import annotations

from functools import cache

from mmh3 import mmh3_32_uintdigest as digest

from rollout.errors import InvalidValue
from rollout.wording import show

BUCKETS = 100_000
"""Buckets are 0..99999, a thousandth of a percent each."""

_ARRAY_OF_TWO = b"\x82"
_TEXT = 0x60
_LONGEST_WITH_HEAD = 255


def bucket(salt: str, unit: str) -> int:
    """The bucket, 0..99999, of `unit` under `salt`.

    Raises InvalidValue for text that UTF-8 cannot carry (a lone surrogate).
    """
    return bucket_of(hash32(salt, unit))


def bucket_of(hash32: int) -> int:
    """The bucket, 0..99999, that a hash falls into."""
    return (hash32 * BUCKETS) >> 32


def hash32(salt: str, unit: str) -> int:
    """The hash, 0..2**32-1, of `unit` under `salt`; raises as `bucket` does."""
    # Encoded before mmh3 sees it: several of its releases crash on a lone surrogate.
    data = _utf8(unit, "unit")
    return digest(head(salt, len(data)) + data)


def limit(threshold: int) -> int:
    """The smallest hash that is outside: `hash < limit(t)` exactly when `bucket < t`.

    Comparing hashes saves whoever decides the multiplication and the shift, which
    together cost as much as the hash.
    """
    return -(-(threshold << 32) // BUCKETS)


def heads(salt: str) -> tuple[bytes, ...]:
    """All that goes before a unit's own bytes, indexed by their number, 0 to 255.

    With it the hash of a unit of up to 255 bytes costs one concatenation:
    `digest(heads[len(data)] + data)`. Longer units go the long way, through `hash32`.
    """
    start = _start(salt)
    return tuple([start + size for size in _text_heads()])


def head(salt: str, size: int) -> bytes:
    """All that goes before the bytes of a unit that has `size` of them."""
    return _start(salt) + _text_head(size)


def _start(salt: str) -> bytes:
    data = _utf8(salt, "salt")
    return _ARRAY_OF_TWO + _text_head(len(data)) + data


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
