"""The `rollout` command, as a person uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context
from click.testing import CliRunner, Result

from rollout.cli import cli

TEXT = """\
version: 1   # the format
flags:
  deploy-retries:
    description: Retry deploys.
    owner: release-engineering
    bucket_by: app        # the unit
    percent: 5            # <- the number to bump
    inside: 5
    outside: 0
    always_inside: {org: [acme]}
  ramped:
    bucket_by: app
    inside: true
    outside: false
    ramp:
      - {at: 2027-03-01T09:00+01:00, percent: 5}
  off: {enabled: false, bucket_by: app, percent: 50, inside: new, outside: "the old"}
""".replace("  off:", '  "off":')


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "flags.yaml"
    path.write_text(TEXT)
    return path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments, prog_name="rollout")
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_check_says_that_a_file_is_in_order(file: Path) -> None:
    assert run("check").output == "flags.yaml is in order: 3 flags\n"
    assert run("check", str(file)).output == f"{file} is in order: 3 flags\n"
    assert run("check", "--file", str(file)).output == f"{file} is in order: 3 flags\n"
    assert run("check", "x", "--file", str(file)).exit_code == 2


def test_check_shows_every_problem_on_a_line_of_its_own(file: Path) -> None:
    file.write_text(TEXT.replace("percent: 5 ", "percent: 5%").replace("version: 1", "version: 7"))
    result = run("check")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "flags.yaml:1:10: version: 7 is not a version this rollout reads; write 1",
        "flags.yaml:7:14: deploy-retries: percent: 5% is not a bare number; write 5",
    ]


def test_a_flood_of_problems_is_cut(file: Path) -> None:
    file.write_text("version: 1\nflags: {}\n" + "".join(f"x{i}: 1\n" for i in range(70)))
    assert run("check").stderr.splitlines()[50:] == ["... and 20 more problems"]


def test_list_shows_every_flag(file: Path) -> None:
    assert run("list").output.splitlines() == [
        "FLAG            ROLLOUT     BY   INSIDE  OUTSIDE    OWNER                EXPIRES",
        "deploy-retries  5 %         app  5       0          release-engineering",
        "ramped          0 % (ramp)  app  true    false",
        'off             off         app  new     "the old"',
    ]
    file.write_text("version: 1\nflags: {}\n")
    assert run("list").output == "no flags\n"


RAMPED = "ramped -> false (app a is at 82.130 %, rollout is at"
BEFORE = f"{RAMPED} 0 % until 2027-03-01T09:00+01:00)"
SINCE = f"{RAMPED} 5 % since 2027-03-01T09:00+01:00)"


@pytest.mark.usefixtures("file")
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


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["explain", "deploy-retry", "--unit", "a"],
            1,
            "Error: flags.yaml has no flag deploy-retry",
        ),
        (["explain", "ramped"], 2, "Missing option '--unit'"),
        (
            ["explain", "ramped", "--unit", "\udcff"],
            2,
            'Error: app "\\udcff" is not text that UTF-8',
        ),
        (["explain", "ramped", "--unit", "a", "--at", "noon"], 2, "Error: --at noon is not a time"),
        (
            ["explain", "ramped", "--unit", "a", "--at", "2027-01-01T09:00"],
            2,
            "Error: --at 2027-01-01T09:00 has no offset",
        ),
        (["explain", "ramped", "--unit", "a", "--context", "org"], 2, "'org' is not NAME=VALUE"),
        (["explain", "ramped", "--unit", "a", "--file", "no"], 2, "Error: no does not exist"),
        (["list", "--file", "."], 2, "Error: . is a directory"),
        (["check", "no/such.yaml"], 2, "Error: no/such.yaml does not exist"),
        (["set", "deploy-retries"], 2, "Missing option '--percent'"),
        (["set", "deploy-retries", "--percent", "5%"], 2, "--percent 5% is not a bare number"),
        (["set", "deploy-retries", "--percent", "101"], 2, "Error: --percent 101 is over 100"),
        (["set", "deploy-retries", "--percent", "-1"], 2, "Error: --percent -1 is below 0"),
        (["set", "deploy-retries", "--percent", "0.0001"], 2, "has more than three decimals"),
        (["set", "deploy-retries", "--percent", "NaN"], 2, "Error: --percent NaN is not a number"),
        (["set", "deploy-retries", "--percent", ""], 2, 'Error: --percent "" is not a number'),
        (
            ["set", "deploy-retry", "--percent", "6"],
            1,
            "Error: flags.yaml has no flag deploy-retry",
        ),
        (["set", "ramped", "--percent", "6"], 1, "Error: ramped has a ramp"),
        (["set", "ramped", "--percent", "6", "--file", "no/a"], 2, "Error: no/a does not exist"),
        (["set", "ramped", "--percent", "6", "--file", "."], 2, "Error: . is a directory"),
    ],
)
def test_bad_input_is_one_clear_line_and_changes_nothing(
    file: Path, arguments: list[str], code: int, said: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""
    assert file.read_text() == TEXT
    assert list(file.parent.iterdir()) == [file]


def test_an_error_of_ours_comes_with_a_hint(file: Path) -> None:
    result = run("set", "deploy-retries", "--percent", "5%", "--file", str(file))
    assert result.stderr == "Error: --percent 5% is not a bare number\nHint: write 5\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_bump_changes_the_number_and_not_another_byte(file: Path, end: str, bom: bytes) -> None:
    before = bom + TEXT.replace("\n", end).encode()
    file.write_bytes(before)
    file.chmod(0o640)
    result = run("set", "deploy-retries", "--percent", "12.5")
    assert result.output.splitlines() == [
        "flags.yaml:7",
        "-    percent: 5            # <- the number to bump",
        "+    percent: 12.5            # <- the number to bump",
        "deploy-retries",
        "  percent: 5 % -> 12.5 %: another 7.5 % enter, nobody leaves",
    ]
    assert file.read_bytes() == before.replace(b"percent: 5  ", b"percent: 12.5  ", 1)
    assert file.stat().st_mode & 0o7777 == 0o640


def test_a_bump_to_where_the_flag_stands_touches_nothing(file: Path) -> None:
    before = file.stat()
    result = run("set", "deploy-retries", "--percent", "5.000")
    assert result.output == "deploy-retries is at 5 % already; flags.yaml was not touched\n"
    assert result.exit_code == 0
    assert file.stat() == before


def test_a_bump_of_a_flag_that_is_off_says_so(file: Path) -> None:
    result = run("set", "off", "--percent", "60")
    assert "off is off (enabled: false), so everybody stays outside" in result.output
    assert file.read_text() == TEXT.replace("percent: 50", "percent: 60")


def test_a_file_with_errors_is_not_bumped(file: Path) -> None:
    broken = TEXT.replace("outside: 0", "outside: on")
    file.write_text(broken)
    result = run("set", "deploy-retries", "--percent", "6")
    assert result.exit_code == 1
    assert result.stderr.startswith("flags.yaml:9:14: deploy-retries: outside: on is a boolean")
    assert file.read_text() == broken


def test_a_file_without_a_final_newline_keeps_that(file: Path) -> None:
    text = 'version: 1\nflags: {"a": {"bucket_by": "app", "inside": 1, "outside": 0, "percent":5}}'
    file.write_text(text)
    assert run("set", "a", "--percent", "100").exit_code == 0
    assert file.read_text() == text.replace(":5}", ":100}")


def process(*arguments: str | bytes, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rollout", *arguments],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_as_a_process_it_explains_and_refuses(file: Path) -> None:
    done = process("explain", "deploy-retries", "--unit", "hello", cwd=file.parent)
    assert done.stdout == "deploy-retries -> 0 (app hello is at 6.343 %, rollout is at 5 %)\n"
    done = process("explain", "deploy-retries", "--unit", b"\xff", cwd=file.parent)
    assert done.returncode == 2
    assert 'app "\\udcff" is not text that UTF-8 can carry' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_that_cannot_show_a_unit_is_no_crash(file: Path) -> None:
    asked = ("explain", "deploy-retries", "--unit", "アプリ")
    done = process(*asked, cwd=file.parent, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert done.stdout.startswith("deploy-retries -> 0 (app \\u30a2")


def test_the_line_of_a_command_in_the_help_is_how_its_own_help_begins() -> None:
    lines = run("--help").output.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert len(lines) == len(cli.list_commands(Context(cli)))
    for name, line in (row.split(maxsplit=1) for row in lines):
        command = cli.get_command(Context(cli), name)
        assert command is not None
        assert " ".join((command.help or "").split()).startswith(line.rstrip("."))


def test_flag_names_are_completed(file: Path) -> None:
    done = process(
        cwd=file.parent,
        _ROLLOUT_COMPLETE="bash_complete",
        COMP_WORDS="rollout explain de",
        COMP_CWORD="2",
    )
    assert done.stdout == "plain,deploy-retries\n"


@pytest.mark.parametrize(
    ("arguments", "also"),
    [
        (["--help"], {"yaml", "mmh3", "msgspec"}),
        (["--version"], {"yaml", "mmh3", "msgspec"}),
        (["explain", "deploy-retries", "--unit", "hello"], set()),
    ],
)
def test_the_quick_commands_import_little(file: Path, arguments: list[str], also: set[str]) -> None:
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from rollout.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=file.parent,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.split())
    assert "rollout.cli" in loaded
    assert not loaded & ({"httpx", "starlette", "rich", "anyio", "uvicorn", "deploy"} | also)
