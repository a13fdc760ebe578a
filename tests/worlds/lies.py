"""What hypothesis may make of an answer: other JSON, other bytes, another status, other headers."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.worlds.liar import Answer, Bend, Lie

LAST_CALL = 45  # a clean deploy of two machines asks about so often
ALWAYS = 10**9

Header = tuple[bytes, bytes]

# Words that mean something somewhere, so that a lie is taken up rather than passed over.
_WORDS = st.sampled_from(
    [
        "started",
        "stopped",
        "failed",
        "replacing",
        "destroyed",
        "created",
        "passing",
        "critical",
        "warning",
        "app",
        "v2",
        "ok",
        "unreachable",
        "lease-not-found",
        "1",
        "0",
        "-1",
        "99999999999999999999",
        "01MCC5RM00DYZ2M4NJCSF5X86W",
        "app-1",
        "0000000000000000",
        "1111111111111111",
        "forward",
        "back",
        "null",
        "{}",
        "[]",
        "hello:ok-1",
        "",
        "\x00",
        "\x1b[2J",
        "a\nb",
        "é",
        "💥",
        "machine ID ../../apps/x lease currently held by x",
        "already_exists: unique machine name violation, machine ID 48eee7c8b68bb1",
        "x" * 70000,
    ]
)
_KEYS = st.sampled_from(
    [
        "id",
        "name",
        "state",
        "region",
        "instance_id",
        "version",
        "config",
        "metadata",
        "image",
        "env",
        "services",
        "checks",
        "mounts",
        "init",
        "restart",
        "events",
        "request",
        "exit_event",
        "exit_code",
        "timestamp",
        "status",
        "error",
        "message",
        "data",
        "nonce",
        "expires_at",
        "owner",
        "description",
        "user_config",
        "organization",
        "slug",
        "cordoned",
        "host_status",
        "nonce",
        "fly_process_group",
        "fly_platform_version",
        "fly_release_id",
        "fly_release_version",
        "tidegate_intent",
        "tidegate_deploy",
        "tidegate_digest",
        "tidegate_from",
        "tidegate_was",
    ]
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, -0.0])
    | st.floats(allow_nan=False, allow_infinity=False)
    | _WORDS
    | st.text(max_size=20)
)
JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_KEYS | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)
_STATUSES = st.sampled_from(
    [
        200,
        200,
        200,
        201,
        202,
        204,
        206,
        301,
        304,
        307,
        400,
        401,
        403,
        404,
        408,
        409,
        412,
        413,
        418,
        422,
        425,
        429,
        451,
        499,
        500,
        501,
        502,
        503,
        504,
        520,
        599,
        600,
        999,
    ]
)
_HEADERS = st.tuples(
    st.sampled_from(
        [
            "content-type",
            "content-encoding",
            "content-length",
            "retry-after",
            "date",
            "fly-next-cursor",
            "fly-request-id",
            "location",
            "set-cookie",
            "transfer-encoding",
            "fly-machine-lease-nonce",
        ]
    ).map(str.encode),
    st.sampled_from(
        [
            b"",
            b"gzip",
            b"deflate",
            b"gzip, gzip",
            b"br",
            b"zstd",
            b"identity",
            b"text/html",
            b"x",
            b"application/json; charset=utf-7",
            b"0",
            b"-1",
            b"1e9",
            b"9" * 400,
            b"\xb2",
            b"nan",
            b"Fri, 31 Dec 9999 23:59:59 GMT",
            b"Thu, 01 Jan 1970 00:00:00 +9999",
            b"\xff\xfe",
            b"Mon, 32 Foo 0000 99:99:99",
            b"http://169.254.169.254/",
            b"a=b",
            b"\x1b[2J",
            b"c" * 99,
        ]
    )
    | st.binary(max_size=30).map(lambda text: text.translate(None, b"\r\n\0")),
)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _answer(status: int, body: bytes, header: Header | None) -> Bend:
    return lambda _: Answer(status, (header,) if header else (), body)


def _bent(seed: int, value: Any) -> Bend:
    """The real answer with `value` at a place in it."""

    def bend(answer: Answer) -> Answer:
        try:
            data = json.loads(answer.body)
        except ValueError:
            data = None
        return replace(answer, body=_json(_put(data, value, random.Random(seed))))

    return bend


def _put(data: Any, value: Any, chance: random.Random) -> Any:
    """`data` with `value` somewhere inside, deep places as likely as high ones."""
    if isinstance(data, list) and data and chance.random() < 0.9:
        at = chance.randrange(len(data))
        return [*data[:at], _put(data[at], value, chance), *data[at + 1 :]]
    if isinstance(data, dict) and data and chance.random() < 0.8:
        key = chance.choice(sorted(data))
        return {**data, key: _put(data[key], value, chance)}
    return value


def _headed(header: Header) -> Bend:
    """The real answer with one more header, or another value of one."""

    def bend(answer: Answer) -> Answer:
        kept = tuple(each for each in answer.headers if each[0] != header[0])
        return replace(answer, headers=(*kept, header))

    return bend


def _cut(at: float) -> Bend:
    return lambda answer: replace(answer, body=answer.body[: int(len(answer.body) * at)])


_BENDS = st.one_of(
    st.builds(
        lambda status, value, header: (
            _answer(status, _json(value), header),
            (status, value, header),
        ),
        _STATUSES,
        JSON,
        st.none() | _HEADERS,
    ),
    st.builds(
        lambda status, body, header: (_answer(status, body, header), (status, body, header)),
        _STATUSES,
        st.binary(max_size=60),
        st.none() | _HEADERS,
    ),
    st.builds(
        lambda seed, value: (_bent(seed, value), ("bent", seed, value)), st.integers(0, 999), JSON
    ),
    st.builds(
        lambda seed, value: (_bent(seed, value), ("bent", seed, value)), st.integers(0, 999), JSON
    ),
    st.builds(lambda header: (_headed(header), header), _HEADERS),
    st.builds(lambda at: (_cut(at), ("cut", at)), st.floats(0, 1)),
)

LIES = st.lists(
    st.builds(
        lambda nth, told, times: Lie(nth, told[0], times, repr(told[1])[:300]),
        st.integers(1, LAST_CALL),
        _BENDS,
        st.sampled_from([1, 1, 2, 5, ALWAYS]),
    ),
    min_size=1,
    max_size=4,
)
