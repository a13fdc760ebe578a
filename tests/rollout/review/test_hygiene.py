"""What a flags file in good order is not like."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rollout.file import flagfile
from rollout.review.hygiene import Facts, inspect

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HEAD = """\
version: 1
flags:
  a:
    owner: me
    expires: 2027-01-01
    bucket_by: app
    inside: 1
    outside: 0
"""
GOOD = HEAD + "    percent: 5\n"
OTHER = "  b: {owner: me, expires: 2027-01-01, bucket_by: app, inside: 1, outside: 0, percent: 5}\n"


def found(text: str, base: str | None = None, max_step: int | None = None) -> list[str]:
    before = None if base is None else flagfile.parse(base).flags
    facts = Facts(now=NOW, base=before, max_step=max_step)
    return [f"{f.rule} {f}" for f in inspect(flagfile.parse(text), facts)]


def test_a_file_in_good_order_is_left_alone() -> None:
    assert found(GOOD, GOOD, 0) == []
    assert found("version: 1\nflags: {}\n") == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    owner: me\n", "", "owner 3:3: a: it has no owner; add owner: with the team"),
        ("owner: me", "owner: ' '", "owner 4:12: a: it has no owner; add owner: with the team"),
        ("    expires: 2027-01-01\n", "", "expiry 3:3: a: it has no expiry; add expires: with"),
        ("2027-01-01", "2026-11-22", "expiry 5:14: a: it expired on 2026-11-22; remove the flag"),
    ],
)
def test_owner_and_expiry_are_asked_for(old: str, new: str, said: str) -> None:
    (finding,) = found(GOOD.replace(old, new))
    assert finding.startswith(said)


def test_the_day_of_expiry_is_the_last_good_one() -> None:
    assert found(GOOD.replace("2027-01-01", "2026-11-23")) == []


def test_a_finished_flag_is_a_warning_with_its_places() -> None:
    facts = Facts(now=NOW, complete=frozenset({"a"}), places={"a": ("x.py:3", "y.py:4")})
    (finding,) = inspect(flagfile.parse(GOOD), facts)
    assert finding.level == "warning"
    assert str(finding) == (
        "3:3: warning: a: at 100 % for over 30 days; remove this flag, and the code that asks "
        "for it (named in x.py:3, y.py:4)"
    )


def test_a_flag_that_nobody_is_inside_of_for_long_is_a_warning() -> None:
    (finding,) = inspect(flagfile.parse(GOOD), Facts(now=NOW, idle=frozenset({"a"})))
    assert str(finding) == (
        "3:3: warning: a: nobody is inside for over 30 days; roll it out, or remove it"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("2027-01-01", "2999-01-01", "expiry 5:14: warning: a: it expires on 2999-01-01, in more"),
        ("outside: 0", "outside: 1", "values 7:13: a: inside and outside are both 1; make them"),
        (
            "outside: 0",
            "outside: 0\n    always_inside: {app: [one, two]}\n    always_outside: {app: [two]}",
            "lists 9:20: a: app two is both always inside and always outside, which wins; ",
        ),
        (
            "outside: 0",
            'outside: 0\n    always_inside: {app: ["x\\u200b"]}',
            'text 9:20: a: always_inside: app: "x\\u200b" has invisible signs (U+200B); write it',
        ),
        (
            "outside: 0",
            'outside: 0\n    always_outside: {app: ["x "]}',
            'text 9:21: a: always_outside: app: "x " has blanks around it; write it without',
        ),
        (
            "bucket_by: app",
            'bucket_by: "app\\u00a0"',
            'text 6:16: a: bucket_by: "app\\xa0" has invisible signs (U+00A0); write it without',
        ),
        (
            "outside: 0",
            "outside: 0\n    always_inside: {ap: [x]}",
            "attribute 9:20: warning: a: the attribute ap looks like a slip of another; did you",
        ),
    ],
)
def test_what_can_hardly_be_meant_is_found(old: str, new: str, said: str) -> None:
    assert old in GOOD
    findings = found(GOOD.replace(old, new))
    assert len(findings) == 1
    assert findings[0].startswith(said)


def test_an_attribute_that_most_flags_spell_otherwise_is_a_slip() -> None:
    others = "".join(OTHER.replace("b:", f"{key}:", 1) for key in "cd")
    findings = found(GOOD + OTHER.replace("bucket_by: app", "bucket_by: apps") + others)
    said = "warning: b: the attribute apps looks like a slip of another; did you mean app?"
    assert findings == [f"attribute 10:50: {said}"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("salt: b", "salt 9:11: a: salt was a in the base: everybody is drawn anew; write salt: a"),
        (
            "bucketing: flagd-2",
            (
                "salt 9:16: a: bucketing was flagd-3 in the base: everybody is drawn anew; "
                "write bucketing: flagd-3"
            ),
        ),
        ("bucketing: flagd-3", None),
        ("salt: a", None),
    ],
)
def test_another_salt_than_in_the_base_is_an_error(line: str, said: str | None) -> None:
    assert found(f"{HEAD}    {line}\n    percent: 5\n", GOOD) == ([said] if said else [])


def test_another_unit_than_in_the_base_is_an_error() -> None:
    (finding,) = found(GOOD.replace("bucket_by: app", "bucket_by: org"), GOOD)
    assert finding.startswith("salt 6:16: a: bucket_by was app in the base")


def test_a_salt_that_is_shared_by_accident_is_an_error() -> None:
    (finding,) = found(GOOD + OTHER.replace("{", "{salt: a, "))
    assert finding == (
        "shared 10:13: b: it has the salt of a, so that both have the same units inside; "
        "remove its salt, or write salt: a in both if intended"
    )


def test_a_salt_that_both_name_is_meant_unless_one_of_them_is_new() -> None:
    both = GOOD.replace("owner", "salt: s\n    owner") + OTHER.replace("{", "{salt: s, ")
    assert found(both) == []
    assert found(both, both) == []
    (finding,) = found(both, GOOD.replace("owner", "salt: s\n    owner"))
    assert finding.startswith("shared 11:13: warning: b: it has the salt of a")


RAMP = """\
    ramp:
      - {at: 2026-11-20T00:00Z, percent: 5}
      - {at: 2026-11-24T00:00Z, percent: 50}
      - {at: 2026-11-25T00:00Z, percent: 100}
"""


@pytest.mark.parametrize(
    ("text", "base", "most", "said"),
    [
        (GOOD.replace("5\n", "16\n"), GOOD, 10_000, ["5 % -> 16 % is more than the 10 % allowed"]),
        (GOOD.replace("5\n", "15\n"), GOOD, 10_000, []),
        (GOOD.replace("5\n", "0\n"), GOOD.replace("5\n", "100\n"), 0, []),
        (GOOD, "version: 1\nflags: {}\n", 4_999, ["0 % -> 5 % is more than the 4.999 % allowed"]),
        (GOOD, None, 1, []),
        (HEAD + RAMP, None, 49_000, ["50 % -> 100 % on 2026-11-25T00:00Z is more than"]),
        (HEAD + RAMP, GOOD, 45_000, ["50 % -> 100 % on 2026-11-25T00:00Z is more than"]),
        (HEAD + RAMP, GOOD.replace("5\n", "1\n"), 3_000, ["1 % -> 5 %", "5 % -> 50 %", "50 %"]),
        (HEAD + RAMP, HEAD + RAMP, 1_000, []),
        (HEAD + RAMP.replace(RAMP.splitlines(True)[2], ""), HEAD + RAMP, 60_000, ["5 % -> 100 %"]),
        (HEAD + RAMP.replace("100}", "90}"), HEAD + RAMP, 1_000, ["50 % -> 90 %"]),
        (HEAD + "    paused: 2026-11-20T01:00Z\n" + RAMP, GOOD, 45_000, ["50 % -> 100 %"]),
    ],
)  # fmt: skip
def test_a_rise_by_more_than_allowed_is_an_error(
    text: str, base: str | None, most: int, said: list[str]
) -> None:
    findings = found(text, base, most)
    assert len(findings) == len(said)
    for finding, part in zip(findings, said, strict=True):
        assert finding.startswith("jump ")
        assert part in finding
