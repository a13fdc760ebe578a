"""flags.yaml is read strictly, and every error knows its place and its fix."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollout.errors import BadFlagFile
from rollout.file import flagfile
from rollout.flag import Flag, Ramp, Step
from tests.rollout.strategies import flag_texts

SHIPPED = Path(__file__).parents[3] / "flags.yaml"

HEAD = "version: 1\nflags:\n  a:\n    bucket_by: app\n    inside: 5\n    outside: 0\n"


def problems(text: str | bytes) -> list[str]:
    """Everything wrong with the text, as `line:column: what; fix`."""
    try:
        if isinstance(text, bytes):
            flagfile.parse_bytes(text, "flags.yaml")
        else:
            flagfile.parse(text)
    except BadFlagFile as error:
        return [str(problem) for problem in error.problems]
    return []


def test_the_shipped_file_is_in_order() -> None:
    flags = flagfile.parse_bytes(SHIPPED.read_bytes(), "flags.yaml").flags
    assert flags["deploy-retries"].bucket_by == "app"
    assert type(flags["deploy-retries"].inside) is int


def test_every_key_arrives() -> None:
    text = HEAD.replace("inside: 5", "inside: new").replace("outside: 0", "outside: 'old'") + (
        "    description: What it does\n"
        "    owner: somebody\n"
        "    expires: 2027-03-31\n"
        '    salt: "on"\n'
        "    enabled: false\n"
        "    always_inside: {app: [x, '010'], org: []}\n"
        "    always_outside:\n      org:\n        - 'y'\n"
        "    ramp:\n"
        "      - {at: 2027-03-01T09:00:00+01:00, percent: 5}\n"
        "      - at: '2027-03-02 09:00Z'\n"
        "        percent: 12.345\n"
    )
    assert flagfile.parse(text).flags["a"] == Flag(
        key="a",
        bucket_by="app",
        inside="new",
        outside="old",
        rollout=Ramp(
            (
                Step(datetime(2027, 3, 1, 8, tzinfo=UTC), 5_000),
                Step(datetime(2027, 3, 2, 9, tzinfo=UTC), 12_345),
            )
        ),
        salt="on",
        enabled=False,
        always_inside={"app": frozenset({"x", "010"}), "org": frozenset()},
        always_outside={"org": frozenset({"y"})},
        description="What it does",
        owner="somebody",
        expires="2027-03-31",
    )


@given(flag_texts())
def test_whatever_the_style_the_percentages_are_read_exactly(
    drawn: tuple[str, dict[str, int]],
) -> None:
    text, expected = drawn
    flags = flagfile.parse_bytes(text.encode(), "flags.yaml").flags
    assert {key: flag.rollout for key, flag in flags.items()} == expected


RANGE = "write a number from 0 to 100"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("101", f"101 is over 100; {RANGE}"),
        ("100.001", f"100.001 is over 100; {RANGE}"),
        ("9" * 20, f"{'9' * 20} is over 100; {RANGE}"),
        ("-1", f"-1 is below 0; {RANGE}"),
        ("0.0001", "0.0001 has more than three decimals; write at most three, as in 0.001"),
        ("NaN", f"NaN is not a number; {RANGE}, such as 5 or 0.5"),
        (".nan", f".nan is not a number; {RANGE}, such as 5 or 0.5"),
        ("1e1", f"1e1 is not a number; {RANGE}, such as 5 or 0.5"),
        ("１", f"１ is not a number; {RANGE}, such as 5 or 0.5"),
        ("on", f"on is not a number; {RANGE}, such as 5 or 0.5"),
        ("5%", "5% is not a bare number; write 5"),
        ("5 %", '"5 %" is not a bare number; write 5'),
        ('"5%"', "5% is not a bare number; write 5"),
        ('"5"', '"5" is text; write 5 without the quotes'),
        (".5", ".5 does not begin with a digit; write 0.5"),
        ("010", "010 has a leading zero; write 10"),
        ("00", "00 has a leading zero; write 0"),
        ("[5]", f"it is a list; {RANGE}"),
        ("{a: 5}", f"it is a mapping; {RANGE}"),
        ("null", f"it is empty; {RANGE}"),
    ],
)
def test_a_percentage_that_is_none_is_named_with_its_fix(written: str, said: str) -> None:
    assert problems(f"{HEAD}    percent: {written}\n") == [f"7:14: a: percent: {said}"]


@pytest.mark.parametrize("written", ["0", "100", "5", "0.001", "99.999", "5.0", "5.000"])
def test_a_percentage_within_bounds_is_fine(written: str) -> None:
    assert problems(f"{HEAD}    percent: {written}\n") == []


KEYS = (
    "use one of description, owner, expires, salt, bucketing, enabled, bucket_by, percent, "
    "paused, ramp, guard, variants, inside, outside, always_inside, always_outside"
)
TIME = "write a time with its offset, such as 2027-03-01T09:00:00+01:00 or ...Z"
LIST = "write a list, such as [hello, my-app]"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("colour: red", f"7:5: a: unknown key colour; {KEYS}"),
        ("alway_inside: {}", "7:5: a: unknown key alway_inside; did you mean always_inside?"),
        ("inside: 7", "7:5: a: inside is here twice, first on line 5; remove one of them"),
        (
            "bucketing: flagd2",
            "7:16: a: bucketing: flagd2 is not known; did you mean flagd-2?",
        ),
        ("bucketing: x", "7:16: a: bucketing: x is not known; write flagd-3 or flagd-2"),
        ("enabled: yes", "7:14: a: enabled: yes is not true or false; write true or false"),
        ('enabled: "true"', '7:14: a: enabled: "true" is not true or false; write true or false'),
        ("expires: 2027-02-30", "7:14: a: expires: 2027-02-30 is not a date; write a date such as"),
        ("expires: soon", "7:14: a: expires: soon is not a date; write a date such as 2027-03-31"),
        ("owner: 5", '7:12: a: owner: 5 is a number to YAML, not text; write "5"'),
        ("owner: on", '7:12: a: owner: on is a boolean to YAML, not text; write "on"'),
        ("owner: y", '7:12: a: owner: y is a boolean to YAML, not text; write "y"'),
        ("owner: 1e3", '7:12: a: owner: 1e3 is a number to YAML, not text; write "1e3"'),
        ("owner: 12:30", '7:12: a: owner: 12:30 is a number to YAML, not text; write "12:30"'),
        ("owner: 2027-01-01", "7:12: a: owner: 2027-01-01 is a date to YAML, not text; write"),
        ("owner: ~", "7:12: a: owner: it is empty; write text"),
        ("owner: [x]", "7:12: a: owner: it is a list; write text"),
        ("salt: ''", "7:11: a: salt: it is empty; write a name"),
        ('salt: "\\ud800"', '7:11: a: salt: "\\ud800" is not text that UTF-8 can carry; remove'),
        ("<<: {}", '7:5: a: a key: << is a merge to YAML, not text; write "<<"'),
        ("? [a]\n    : b", "7:7: a: a key: it is a list; write text"),
        ("always_inside: [x]", "7:20: a: always_inside: it is a list, not a mapping; write key"),
        ("always_inside: {app: x}", f"7:26: a: always_inside: app: it is text, not a list; {LIST}"),
        ("always_inside: {app: [010]}", "7:27: a: always_inside: app: 010 is a number to YAML"),
        ("always_outside: {app: [no]}", "7:28: a: always_outside: app: no is a boolean to YAML"),
        (
            "ramp: [{at: 2027-01-01T00:00Z, percent: 5}]",
            "8:5: a: a flag has either percent or ramp, not both; remove one of the two",
        ),
    ],
)
def test_what_is_wrong_in_a_flag_is_named_with_its_place_and_fix(line: str, said: str) -> None:
    found = problems(f"{HEAD}    {line}\n    percent: 5\n")
    assert len(found) == 1
    assert found[0].startswith(said)


RAMPED = (
    HEAD + "    ramp: [{at: 2027-01-01T00:00Z, percent: 5}, {at: 2027-01-02T00:00Z, percent: 9}]\n"
)


def test_a_paused_ramp_keeps_the_step_it_was_paused_in() -> None:
    first = Step(datetime(2027, 1, 1, tzinfo=UTC), 5_000)
    second = Step(datetime(2027, 1, 2, tzinfo=UTC), 9_000)

    def paused(at: str) -> Ramp:
        ramp = flagfile.parse(f"{RAMPED}    paused: {at}\n").flags["a"].rollout
        assert isinstance(ramp, Ramp)
        assert ramp.paused == datetime.fromisoformat(at)
        return ramp

    late = datetime(2028, 1, 1, tzinfo=UTC)
    for at, steps, waiting, threshold in [
        ("2026-12-31T23:59Z", None, (first, second), 0),
        ("2027-01-01T00:00Z", (first,), (second,), 5_000),
        ("2027-01-01T23:59Z", (first,), (second,), 5_000),
        ("2027-01-02T00:00Z", (first, second), (), 9_000),
    ]:
        ramp = paused(at)
        assert ramp.waiting == waiting
        assert ramp.steps == (steps or (Step(datetime.fromisoformat(at), 0),))
        assert flagfile.parse(f"{RAMPED}    paused: {at}\n").flags["a"].threshold_at(late) == (
            threshold
        )


def test_only_a_ramp_can_be_paused() -> None:
    found = problems(f"{HEAD}    percent: 5\n    paused: 2027-01-01T00:00Z\n")
    fix = "remove it, or write enabled: false to switch the flag off"
    assert found == [f"8:5: a: paused: only a ramp can be paused; {fix}"]


@pytest.mark.parametrize(
    ("inside", "outside", "said"),
    [
        ("5", "false", "6:14: a: outside: is a boolean, but inside is an integer; make both one"),
        ("5", "old", "6:14: a: outside: is text, but inside is an integer; make both one type"),
        ("on", "off", "5:13: a: inside: on is a boolean to some YAML readers and text to others;"),
        ("True", "false", "5:13: a: inside: True is a boolean to some YAML readers"),
        ("010", "0", "5:13: a: inside: 010 is a number, but no plain number; write a number"),
        ("0x1F", "0", "5:13: a: inside: 0x1F is a number, but no plain number; write a number"),
        ("1.5e3", "0", "5:13: a: inside: 1.5e3 is a number, but no plain number; write a number"),
        ("1.5", "x", "6:14: a: outside: is text, but inside is a float; make both one type"),
        ("{a: on}", "{}", "5:13: a: inside: on is a boolean to some YAML readers"),
        ("{a: 1, a: 2}", "{}", "5:13: a: inside: a is in it twice; remove one of them"),
        ("9007199254740992", "0", "5:13: a: inside: 9007199254740992 is too large; stay within"),
        ("9" * 5000, "0", "5:13: a: inside: "),
        ("", "0", "5:12: a: inside: it is empty; write a number, true or false, text, or"),
        ("[5]", "0", "5:13: a: inside: it is a list; write a number, true or false, text, or"),
    ],
)
def test_values_that_readers_disagree_on_are_refused(inside: str, outside: str, said: str) -> None:
    text = HEAD.replace("inside: 5", f"inside: {inside}").replace(
        "outside: 0", f"outside: {outside}"
    )
    assert problems(f"{text}    percent: 5\n")[0].startswith(said)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("[]", "7:11: a: ramp: it has no steps; add steps with at and percent"),
        ("5", f"7:11: a: ramp: it is a number, not a list; {LIST}"),
        ("[5]", "7:12: a: ramp step 1: it is a number, not a mapping; write key: value lines"),
        ("[{at: 2027-01-01T00:00Z}]", "7:12: a: ramp step 1: percent is missing; add the"),
        ("[{percent: 5}]", "7:12: a: ramp step 1: at is missing; add the time from which it holds"),
        (
            "[{at: tomorrow, percent: 5}]",
            f"7:17: a: ramp step 1: at: tomorrow is not a time; {TIME}",
        ),
        (
            "[{at: 2027-01-01, percent: 5}]",
            f"7:17: a: ramp step 1: at: 2027-01-01 is not a time; {TIME}",
        ),
        (
            "[{at: 2027-01-01T09:00, percent: 5}]",
            "7:17: a: ramp step 1: at: 2027-01-01T09:00 has no offset; write 2027-01-01T09:00Z for",
        ),
        (
            "[{at: 2027-02-01T00:00Z, percent: 5}, {at: 2027-01-01T00:00Z, percent: 9}]",
            "7:49: a: ramp: this step is not after the one before it; put the steps in order",
        ),
        (
            "[{at: 2027-01-01T09:00+01:00, percent: 5}, {at: 2027-01-01T08:00Z, percent: 9}]",
            "7:54: a: ramp: this step is not after the one before it; put the steps in order",
        ),
        (
            "[{at: 2027-01-01T00:00Z, percent: 101}]",
            "7:45: a: ramp step 1: percent: 101 is over 100",
        ),
        (
            "[{at: 0001-01-01T00:00Z, percent: 1}]",
            "7:17: a: ramp step 1: at: 0001-01-01T00:00Z is out",
        ),
    ],
)
def test_a_ramp_that_is_none_is_named_with_its_place_and_fix(steps: str, said: str) -> None:
    found = problems(f"{HEAD}    ramp: {steps}\n")
    assert len(found) == 1
    assert found[0].startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: the file is empty; begin with version: 1 and, below it, flags:"),
        ("# only\n", "1:1: the file is empty; begin with version: 1 and, below it, flags:"),
        ("- a\n", "1:1: it is a list, not a mapping; write key: value lines, indented"),
        ("hello\n", "1:1: it is text, not a mapping; write key: value lines, indented"),
        ("version: 1\n", "1:1: flags is missing; add flags: with the flags below it"),
        ("flags: {}\n", "1:1: version is missing; begin the file with version: 1"),
        (
            "version: 2\nflags: {}\n",
            "1:10: version: 2 is not a version this rollout reads; write 1",
        ),
        ("version: '1'\nflags: {}\n", '1:10: version: "1" is not a version this rollout reads;'),
        ("version: 1\nflags:\n", "2:7: flags: it is empty, not a mapping; write key: value lines"),
        ("version: 1\nflag: {}\nflags: {}\n", "2:1: unknown key flag; did you mean flags?"),
        ("version: 1\nflags: {on: {}}\n", "2:9: flags: a key: on is a boolean to YAML, not text;"),
        ("version: 1\nflags: {010: {}}\n", "2:9: flags: a key: 010 is a number to YAML, not text"),
        ("version: 1\nflags: {a b: 5}\n", '2:9: "a b" is not a name for a flag; use up to 100'),
        ("a: b: c\n", "1:5: mapping values are not allowed here; correct the YAML there"),
        ("\ta: b\n", "1:1: while scanning for the next token found character '\\t' that cannot"),
        ("a: \x07\n", "1:4: the character \\x07 is not valid in YAML; remove it"),
        ('a: "\\UFFFFFFFF"\n', "1:7: an escape in quotes names no character; correct the escape"),
        ("a: 1\n---\nb: 1\n", "2:1: expected a single document in the stream but found another"),
        ("a: &x 1\nb: *x\n", "1:4: an anchor (&x) is not allowed in a flags file; remove it"),
        ("a: *x\n", "1:4: an alias (*x) is not allowed in a flags file; write the value out"),
        ("a: !!int 5\n", "1:4: a tag (tag:yaml.org,2002:int) is not allowed in a flags file;"),
        ("[" * 500, "1:21: nested more than 20 deep; a flags file needs six levels"),
        ("- " * 500, "1:41: nested more than 20 deep; a flags file needs six levels"),
        (b"a: \xff\n", "1:4: the file is not UTF-8; save the file as UTF-8"),
        ("a\u00e9: 1\n".encode("utf-16"), "1:1: the file is not UTF-8; save the file as UTF-8"),
        (b"#" * (1 << 20) + b"\n", "1:1: the file has more than 1,048,576 bytes; split or"),
    ],
)
def test_a_text_that_is_no_flags_file_is_named_with_its_place_and_fix(
    text: str | bytes, said: str
) -> None:
    assert any(problem.startswith(said) for problem in problems(text))


def test_all_errors_come_at_once_in_the_order_of_the_text() -> None:
    text = "version: 3\nflags:\n  a: {percent: 101, inside: on}\n  a: {}\n  b: []\nx: &y 5\n"
    places = [problem.split(": ")[0] for problem in problems(text)]
    assert places == ["1:10", "3:3", "3:3", "3:16", "3:29", "4:3", "5:6", "6:1", "6:4"]


def test_an_anchor_bomb_is_refused_at_once() -> None:
    bomb = "a: &a [x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)},*{chr(97 + i)}]\n" for i in range(20)
    )
    assert any("an anchor (&a) is not allowed" in problem for problem in problems(bomb))


yamlish = st.lists(
    st.sampled_from(
        [*"[]{}:,-?&*!|>'\"%@`#~ \n\t", "\r\n", "  ", "version: 1\n", "flags:\n", "  a:\n", ": ",
         "- ", "percent: 5\n", "\\ud800", "\\x", "<<", "\ufeff", "\u2028", "\U0001f680", "---\n"]
    )
).map("".join)  # fmt: skip


@given(yamlish | st.text() | yamlish.map(lambda text: HEAD + "    percent: " + text))
@example("? ")
@example("%YAML 9.9\n---\na")
@example("%TAG ! !\n---\n")
def test_no_text_makes_the_reader_fail_in_another_way(text: str) -> None:
    for problem in problems(text):
        assert problem.isprintable() or "\n" not in problem


@given(st.binary())
def test_no_bytes_make_the_reader_fail_in_another_way(data: bytes) -> None:
    problems(data)


def test_the_marks_of_a_merge_conflict_are_named_with_their_lines() -> None:
    text = """\
version: 1
flags:
  a:
    bucket_by: app
<<<<<<< HEAD
    percent: 5
=======
    percent: 10
>>>>>>> other
    inside: 1
    outside: 0
"""
    with pytest.raises(BadFlagFile) as caught:
        flagfile.parse(text)
    fix = "keep one of the two sides, and remove the marks"
    assert [str(problem) for problem in caught.value.problems] == [
        f"{line}:1: a conflict mark of git ({mark}); {fix}"
        for line, mark in ((5, "<<<<<<<"), (7, "======="), (9, ">>>>>>>"))
    ]


@pytest.mark.parametrize(
    ("inside", "outside", "found"),
    [
        ("0.25", "-1.5", (0.25, -1.5)),
        ("1", "0.5", (1.0, 0.5)),
        ("{a: [1, x, null], b: {c: true}}", "{}", ({"a": [1, "x", None], "b": {"c": True}}, {})),
    ],
)
def test_floats_and_objects_are_values(inside: str, outside: str, found: tuple[Any, Any]) -> None:
    text = HEAD.replace("inside: 5", f"inside: {inside}").replace(
        "outside: 0", f"outside: {outside}"
    )
    flag = flagfile.parse(f"{text}    percent: 5\n").flags["a"]
    assert (flag.inside, flag.outside) == found
    assert type(flag.inside) is type(flag.outside)


VARIANTS = """\
version: 1
flags:
  a:
    bucket_by: app
    variants:
      red: {weight: 10, value: 1}
      blue: {weight: 20.125, value: 2, always: {org: [acme]}}
      grey: {weight: 69.875, value: 3}
"""


def test_variants_are_read_in_their_order() -> None:
    flag = flagfile.parse(VARIANTS).flags["a"]
    assert [(each.name, each.weight, each.value) for each in flag.variants] == [
        ("red", 10_000, 1),
        ("blue", 20_125, 2),
        ("grey", 69_875, 3),
    ]
    assert flag.variants[1].always == {"org": frozenset({"acme"})}
    assert (flag.inside, flag.outside, flag.rollout) == (1, 3, 30_125)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("69.875", "69.874", "6:7: a: variants: their weights are 99.999 together, not 100; make"),
        ("value: 3", "value: x", "6:7: a: grey: is text, but red is an integer; make both one"),
        (", value: 3", "", "8:7: a: variants: grey: value is missing; add what the flag is worth"),
        ("weight: 10, ", "", "6:7: a: variants: red: weight is missing; add its weight"),
        ("69.875", "69.8751", "8:22: a: variants: grey: weight: 69.8751 has more than three"),
        ("grey:", '"a b":', '8:7: a: "a b" is not a name for a variant; use up to 100 letters'),
        (
            "    variants",
            "    percent: 5\n    variants",
            "5:5: a: a flag with variants has no percent",
        ),
        (
            "    variants",
            "    inside: 5\n    variants",
            "5:5: a: a flag with variants has no inside",
        ),
        (
            "always:",
            "allways:",
            "7:40: a: variants: blue: unknown key allways; did you mean always",
        ),
    ],
)
def test_what_is_wrong_with_variants_is_named(old: str, new: str, said: str) -> None:
    assert old in VARIANTS
    assert problems(VARIANTS.replace(old, new))[0].startswith(said)
