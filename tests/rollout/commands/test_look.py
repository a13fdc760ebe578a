"""`rollout list` and `rollout explain`, as a person uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.rollout.commands.running import THREE, on_a_terminal, run


def test_list_shows_every_flag(three: Path) -> None:
    assert run("list").output.splitlines() == [
        "FLAG            ROLLOUT     BY   INSIDE  OUTSIDE    OWNER                EXPIRES",
        "deploy-retries  5 %         app  5       0          release-engineering",
        "ramped          0 % (ramp)  app  true    false",
        'off             off         app  new     "the old"',
    ]
    three.write_text("version: 1\nflags: {}\n")
    assert run("list").output == "no flags\n"


RAMPED = "ramped -> false (app a is at 82.130 %, rollout is at"
BEFORE = f"{RAMPED} 0 % until 2027-03-01T09:00+01:00)"
SINCE = f"{RAMPED} 5 % since 2027-03-01T09:00+01:00)"


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["deploy-retries", "--unit", "hello"],
            "deploy-retries -> 0 (app hello is at 6.343 %, rollout is at 5 %)",
        ),
        (
            ["deploy-retries", "--unit", "hello", "--context", "org=acme"],
            "deploy-retries -> 5 (org acme is always inside)",
        ),
        (
            ["ramped", "--unit", "a", "--at", "2027-03-01T07:59:59Z"],
            BEFORE,
        ),
        (
            ["ramped", "--unit", "a", "--at", "2027-03-01T08:00Z"],
            SINCE,
        ),
        (["off", "--unit", "a"], 'off -> "the old" (the flag is off)'),
        (["off", "--unit", ""], 'off -> "the old" (the flag is off)'),
    ],
)
def test_explain_says_why_in_one_sentence(arguments: list[str], said: str) -> None:
    result = run("explain", *arguments)
    assert (result.exit_code, result.output) == (0, said + "\n")


@pytest.mark.usefixtures("three")
def test_get_prints_the_bare_value_and_says_by_its_exit_code_whether_the_flag_is_there() -> None:
    for asked, value in (
        (("deploy-retries", "--unit", "hello"), "0"),
        (("deploy-retries", "--unit", "hello", "--context", "org=acme"), "5"),
        (("ramped", "--unit", "hello"), "false"),
        (("off", "--unit", ""), "the old"),
    ):
        result = run("get", *asked)
        assert (result.exit_code, result.output) == (0, f"{value}\n")
    missing = run("get", "deploy-retry", "--unit", "hello")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "did you mean deploy-retries?" in missing.stderr
    empty = run("get", "deploy-retries", "--unit", "")
    assert (empty.exit_code, empty.stdout) == (2, "")
    assert "Error: app is empty" in empty.stderr


@pytest.mark.usefixtures("three")
def test_json_says_what_the_text_says() -> None:
    explained = json.loads(
        run("explain", "deploy-retries", "--unit", "hello", "--output", "json").output
    )
    assert explained == {
        "version": 1,
        "flag": "deploy-retries",
        "value": 0,
        "variant": "outside",
        "reason": "SPLIT",
        "bucket": 6343,
        "percent": 5.0,
        "unit": "hello",
        "why": "app hello is at 6.343 %, rollout is at 5 %",
        "source": "flags.yaml",
    }
    flags = json.loads(run("list", "--output", "json").output)["flags"]
    assert [(flag["flag"], flag["enabled"], flag["percent"]) for flag in flags] == [
        ("deploy-retries", True, 5.0),
        ("ramped", True, 0.0),
        ("off", False, 50.0),
    ]
    assert (flags[0]["inside"], flags[0]["outside"], flags[0]["owner"]) == (
        5,
        0,
        "release-engineering",
    )


def test_a_terminal_gets_colours_and_how_far_a_date_is(three: Path) -> None:
    three.write_text(THREE.replace("owner:", "expires: 2026-11-26\n    owner:"))
    assert "\x1b" not in run("list").output
    shown = on_a_terminal("list")
    assert "2026-11-26 (in 3 days)\x1b[0m" in shown
    assert "\x1b[1mFLAG" in shown
    assert "in 98 days)" in on_a_terminal("schedule", "ramped")


VARIED = """\
version: 1
flags:
  colour:
    bucket_by: app
    variants:
      red: {weight: 10, value: "#f00"}
      blue: {weight: 20.5, value: "#00f"}
      grey: {weight: 69.5, value: "#ccc"}
"""


def test_a_flag_with_variants_is_shown_counted_and_not_bumped(three: Path) -> None:
    three.write_text(VARIED)
    assert (
        run("list").output.splitlines()[1].startswith("colour  10/20.5/69.5 %  app  #f00    #ccc")
    )
    explained = run("explain", "colour", "--unit", "hello").output
    assert explained == "colour -> #ccc (app hello is at 77.360 %, grey has 10 to 79.5 %)\n"
    assert run("get", "colour", "--unit", "hello").output == "#ccc\n"
    units = "".join(f"app-{number}\n" for number in range(1000))
    asked = ("cohort", "colour", "--units", "-")
    counted = [
        len(run(*asked, "--variant", v, given=units).stdout.split()) for v in ("blue", "grey")
    ]
    first = run(*asked, given=units)
    assert len(first.stdout.split()) + sum(counted) == 1000
    assert first.stderr.endswith("of 1,000 units are red\n")
    assert "did you mean blue?" in run(*asked, "--variant", "bleu", given=units).stderr
    for refused in (("set", "colour", "--percent", "5"), ("ramp", "colour", "--over", "7d")):
        result = run(*refused)
        assert result.exit_code == 1
        assert "Error: colour has variants, whose weights are changed together" in result.stderr
    assert run("kill", "colour").exit_code == 0
    assert "enabled: false" in three.read_text()
    assert run("resume", "colour").exit_code == 0
    assert three.read_text() == VARIED


EVERYTHING = """\
version: 1
flags:
  colour:
    bucket_by: app
    variants:
      red: {weight: 10, value: "#f00", always: {org: [evil, acme]}}
      blue: {weight: 20.5, value: "#00f"}
      grey: {weight: 69.5, value: "#ccc"}
  guarded: {bucket_by: app, percent: 5, inside: 5, outside: 0, guard: {}}
  listed: {bucket_by: app, percent: 5, inside: 5, outside: 0, always_inside: {app: [b, a]}}
  ramped:
    bucket_by: app
    inside: true
    outside: false
    ramp:
      - {at: 2027-03-01T09:00Z, percent: 10}
"""


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("schedule",),
        ("check",),
        ("diff", "flags.yaml", "flags.yaml"),
        *[("explain", key, "--unit", "x") for key in ("colour", "guarded", "listed", "ramped")],
        *[("cohort", key, "--units", "-") for key in ("colour", "guarded", "listed", "ramped")],
    ],
)
def test_every_command_that_shows_shows_every_kind_of_flag_as_json(
    command: tuple[str, ...], three: Path
) -> None:
    three.write_text(EVERYTHING)
    result = run(*command, "--output", "json", given="app-1\n")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["version"] == 1


def test_the_list_as_json_says_all_that_the_file_does(three: Path) -> None:
    three.write_text(EVERYTHING)
    shown = json.loads(run("list", "--output", "json").stdout)["flags"]
    colour, guarded, listed, _ = shown
    assert colour["variants"][0] == {
        "variant": "red", "weight": 10.0, "value": "#f00", "always": {"org": ["acme", "evil"]},
    }  # fmt: skip
    assert guarded["guard"]["stages"] == "5, 10, 25, 50, 95"
    assert listed["always_inside"] == {"app": ["a", "b"]}
