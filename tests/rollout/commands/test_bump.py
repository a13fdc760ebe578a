"""`rollout set`, as a person uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.bucketing import Draw, bucket
from tests.rollout.commands.running import THREE as TEXT
from tests.rollout.commands.running import run
from tests.rollout.files import written


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_bump_changes_the_number_and_not_another_byte(three: Path, end: str, bom: bytes) -> None:
    before = bom + TEXT.replace("\n", end).encode()
    three.write_bytes(before)
    three.chmod(0o640)
    result = run("set", "deploy-retries", "--percent", "12.5")
    assert result.output.splitlines() == [
        "flags.yaml:7",
        "-    percent: 5            # <- the number to bump",
        "+    percent: 12.5            # <- the number to bump",
        "deploy-retries",
        "  percent: 5 % -> 12.5 %: another 7.5 % enter, nobody leaves",
    ]
    assert three.read_bytes() == before.replace(b"percent: 5  ", b"percent: 12.5  ", 1)
    assert three.stat().st_mode & 0o7777 == 0o640


def test_a_bump_to_where_the_flag_stands_touches_nothing(three: Path) -> None:
    before = written(three)
    result = run("set", "deploy-retries", "--percent", "5.000")
    assert result.output == "deploy-retries is at 5 % already; flags.yaml was not touched\n"
    assert result.exit_code == 0
    assert written(three) == before


def test_a_bump_of_a_flag_that_is_off_says_so(three: Path) -> None:
    result = run("set", "off", "--percent", "60")
    assert "off is off (enabled: false), so everybody stays outside" in result.output
    assert three.read_text() == TEXT.replace("percent: 50", "percent: 60")


def test_a_file_with_errors_is_not_bumped(three: Path) -> None:
    broken = TEXT.replace("outside: 0", "outside: on")
    three.write_text(broken)
    result = run("set", "deploy-retries", "--percent", "6")
    assert result.exit_code == 1
    assert result.stderr.startswith("flags.yaml:9:14: deploy-retries: outside: on is a boolean")
    assert three.read_text() == broken


def test_a_file_without_a_final_newline_keeps_that(three: Path) -> None:
    text = 'version: 1\nflags: {"a": {"bucket_by": "app", "inside": 1, "outside": 0, "percent":5}}'
    three.write_text(text)
    assert run("set", "a", "--percent", "100").exit_code == 0
    assert three.read_text() == text.replace(":5}", ":100}")


def test_lowering_throws_units_out_and_needs_a_word(three: Path) -> None:
    lower = ("set", "deploy-retries", "--percent", "0.05")
    result = run(*lower)
    assert result.exit_code == 1
    said = "deploy-retries would throw out some of its units (percent: 5 % -> 0.05 %"
    assert said in result.stderr
    assert "--allow-eviction" in result.stderr
    assert three.read_text() == TEXT
    assert run(*lower, "--units", "-", given="hello\n").exit_code == 0, "hello is outside anyway"
    three.write_text(TEXT)
    assert run(*lower, "--allow-eviction").exit_code == 0
    assert "percent: 0.05 " in three.read_text()


def test_with_units_only_these_count_as_thrown_out(three: Path) -> None:
    draw = Draw("deploy-retries")
    inside = next(unit for unit in map(str, range(1000)) if bucket(draw, unit) < 5000)
    result = run("set", "deploy-retries", "--percent", "0", "--units", "-", given=f"{inside}\n")
    assert result.exit_code == 1
    assert "would throw out 1 of 1 units" in result.stderr
    assert three.read_text() == TEXT
