"""`rollout diff`, `rollout cohort` and the summary of `rollout set`, as a person uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rollout.bucketing import Draw, bucket
from tests.rollout.commands.running import run
from tests.rollout.repo import Repo

TEXT = """\
version: 1
flags:
  a: {bucket_by: app, percent: 5, inside: 5, outside: 0}
  b: {bucket_by: app, percent: 100, inside: 5, outside: 0}
"""
ROLLOUT = [sys.executable, "-m", "rollout"]
UNITS = [f"app-{number}" for number in range(1000)]
FIVE = sum(bucket(Draw("a"), unit) < 5_000 for unit in UNITS)
TEN = sum(bucket(Draw("a"), unit) < 10_000 for unit in UNITS)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("old.yaml").write_text(TEXT)
    Path("units.txt").write_text("\n".join(UNITS) + "\n")
    return tmp_path


def new(old: str, becomes: str) -> None:
    assert old in TEXT
    Path("new.yaml").write_text(TEXT.replace(old, becomes, 1))


@pytest.mark.usefixtures("directory")
def test_a_bump_is_told_in_words_and_in_numbers() -> None:
    new("percent: 5", "percent: 10")
    result = run("diff", "old.yaml", "new.yaml", "--units", "units.txt")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "a",
        "  percent: 5 % -> 10 %: another 5 % enter, nobody leaves",
        (
            f"  of 1,000 units {TEN - FIVE} enter, 0 leave, 0 change value: "
            f"{FIVE} inside before, {TEN} after"
        ),
        "read 1,000 units from units.txt",
    ]


@pytest.mark.usefixtures("directory")
def test_no_change_says_so() -> None:
    result = run("diff", "old.yaml", "old.yaml")
    assert (result.exit_code, result.output) == (0, "no flag changes\n")


@pytest.mark.usefixtures("directory")
def test_lowering_throws_out_and_is_held() -> None:
    new("percent: 5", "percent: 1")
    result = run("diff", "old.yaml", "new.yaml")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        (
            "Error: a would throw out some of its units "
            "(percent: 5 % -> 1 %: 4 % leave, the last in first)"
        ),
        "Hint: keep them inside, or allow it with --allow-eviction",
    ]
    result = run("diff", "old.yaml", "new.yaml", "--units", "-", given="\n".join(UNITS))
    assert result.exit_code == 1
    assert " of 1,000 units\n" in result.stderr
    assert run("diff", "old.yaml", "new.yaml", "--allow-eviction").exit_code == 0


@pytest.mark.usefixtures("directory")
def test_lowering_that_meets_none_of_the_units_passes() -> None:
    new("percent: 5", "percent: 4.999")
    assert all(bucket(Draw("a"), unit) != 4_999 for unit in UNITS)
    assert run("diff", "old.yaml", "new.yaml").exit_code == 1
    assert run("diff", "old.yaml", "new.yaml", "--units", "units.txt").exit_code == 0


@pytest.mark.usefixtures("directory")
def test_names_name_everybody_who_moves() -> None:
    new("percent: 5, inside: 5", "percent: 10, inside: 6")
    result = run("diff", "old.yaml", "new.yaml", "--units", "units.txt", "--names")
    lines = result.stdout.splitlines()
    inside = [unit for unit in UNITS if bucket(Draw("a"), unit) < 5_000]
    enters = [unit for unit in UNITS if 5_000 <= bucket(Draw("a"), unit) < 10_000]
    assert {line for line in lines if "enters" in line} == {f"a: enters {u}" for u in enters}
    assert {line for line in lines if "changes" in line} == {f"a: changes {u}" for u in inside}
    assert f"0 leave, {FIVE} change value" in result.stdout
    assert run("diff", "old.yaml", "new.yaml", "--names").exit_code == 2


@pytest.mark.usefixtures("directory")
def test_json_tells_the_same() -> None:
    new("percent: 5", "percent: 1")
    asked = ("diff", "old.yaml", "new.yaml", "--units", "units.txt", "--names", "--output", "json")
    result = run(*asked)
    assert result.exit_code == 1
    record = json.loads(result.stdout)
    assert record["evicts"] is True
    assert record["units_read"] == 1000
    (flag,) = record["flags"]
    leaves = [unit for unit in UNITS if 1_000 <= bucket(Draw("a"), unit) < 5_000]
    assert flag["units"]["leave"] == len(leaves)
    assert flag["names"] == {"enters": [], "leaves": leaves, "changes": []}
    assert flag["changes"] == [
        {"what": "percent", "text": "5 % -> 1 %: 4 % leave, the last in first", "evicts": True}
    ]


@pytest.mark.usefixtures("directory")
def test_empty_lines_duplicates_and_a_missing_last_newline_have_a_defined_result() -> None:
    new("percent: 5", "percent: 100")
    given = "\r\n\r\nx\r\nx\r\n\r\ny"
    result = run("diff", "old.yaml", "new.yaml", "--units", "-", given=given)
    assert "  of 3 units 3 enter, 0 leave" in result.stdout
    assert result.stdout.endswith("read 3 units from <stdin>, left out 3 empty lines\n")


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"a\n\xed\xa0\x80\n", "Error: <stdin>:2: the unit \\xed\\xa0\\x80 is not text that UTF-8"),
        (b"a\n" + b"x" * 1_048_577, "Error: <stdin>:2: the unit has more than 1,048,576 bytes"),
    ],
)
def test_a_line_that_is_no_unit_is_named_and_changes_nothing(given: bytes, said: str) -> None:
    new("percent: 5", "percent: 6")
    for arguments in (
        ("diff", "old.yaml", "new.yaml"),
        ("cohort", "a", "--file", "old.yaml"),
        ("set", "a", "--percent", "7", "--file", "old.yaml"),
    ):
        result = run(*arguments, "--units", "-", given=given)
        assert result.exit_code == 2
        assert result.stderr.startswith(said)
    assert Path("old.yaml").read_text() == TEXT


@pytest.mark.usefixtures("directory")
def test_units_that_are_not_there_are_named() -> None:
    result = run("diff", "old.yaml", "old.yaml", "--units", "no.txt")
    assert result.exit_code == 2
    assert "the units in no.txt cannot be read: No such file" in result.stderr


@pytest.mark.usefixtures("directory")
def test_units_of_two_kinds_need_a_word() -> None:
    Path("new.yaml").write_text(
        TEXT.replace("percent: 5", "percent: 6").replace(
            "b: {bucket_by: app, percent: 100", "b: {bucket_by: app, percent: 99"
        )
    )
    for name in ("old.yaml", "new.yaml"):
        Path(name).write_text(
            Path(name).read_text().replace("b: {bucket_by: app", "b: {bucket_by: org")
        )
    asked = ("diff", "old.yaml", "new.yaml", "--units", "units.txt")
    result = run(*asked)
    assert result.exit_code == 2
    assert "the flags that change are bucketed by app and by org" in result.stderr
    result = run(*asked, "--by", "app")
    assert result.exit_code == 1, "what b does to its units is not known"
    assert result.stdout.count("of 1,000 units") == 1


def test_revisions_are_compared_at_the_path_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = Repo(tmp_path / "repo")
    repo.commit({"config/f.yaml": TEXT})
    repo.commit({"config/f.yaml": TEXT.replace("percent: 5", "percent: 7")})
    monkeypatch.chdir(repo.root)
    expected = "a\n  percent: 5 % -> 7 %: another 2 % enter, nobody leaves\n"
    assert run("diff", "git:HEAD~1", "config/f.yaml").output == expected
    assert run("diff", "git:HEAD~1", "git:HEAD:config/f.yaml").output == expected
    result = run("diff", "git:nothing", "config/f.yaml")
    assert result.exit_code == 2
    assert "git knows no revision nothing" in result.stderr


@pytest.mark.usefixtures("directory")
def test_cohort_lists_who_is_in_byte_for_byte() -> None:
    result = run("cohort", "a", "--units", "units.txt", "--file", "old.yaml")
    inside = [unit for unit in UNITS if bucket(Draw("a"), unit) < 5_000]
    assert result.stdout.splitlines() == inside
    assert result.stderr == f"a: {FIVE} of 1,000 units are inside\n"
    given = "ünit \x1b[31m\n\nx".encode()
    result = run("cohort", "b", "--units", "-", "--file", "old.yaml", given=given)
    assert result.stdout_bytes == "ünit \x1b[31m\nx\n".encode()
    assert result.stderr == "b: 2 of 2 units are inside; left out 1 empty line\n"
    assert run("cohort", "c", "--units", "-", "--file", "old.yaml").exit_code == 1
    assert run("cohort", "a", "--file", "old.yaml").exit_code == 2


@pytest.mark.usefixtures("directory")
def test_set_prints_whom_it_moves() -> None:
    result = run("set", "a", "--percent", "10", "--file", "old.yaml", "--units", "units.txt")
    assert result.stdout.splitlines()[3:] == [
        "a",
        "  percent: 5 % -> 10 %: another 5 % enter, nobody leaves",
        (
            f"  of 1,000 units {TEN - FIVE} enter, 0 leave, 0 change value: "
            f"{FIVE} inside before, {TEN} after"
        ),
    ]


@pytest.mark.usefixtures("directory")
def test_removing_a_flag_that_everybody_is_inside_of_is_a_clean_up_with_units_too() -> None:
    Path("new.yaml").write_text(TEXT.partition("  b:")[0])
    result = run("diff", "old.yaml", "new.yaml", "--units", "units.txt")
    assert result.exit_code == 0
    assert "  removed at 100 %: no code may ask for it any more" in result.stdout.splitlines()


def test_in_a_revision_without_the_file_every_flag_is_new(directory: Path) -> None:
    Repo(directory).commit({"other.txt": "x"})
    (directory / "young.yaml").write_text(TEXT)
    result = run("diff", "git:HEAD", "young.yaml")
    assert (result.exit_code, result.stdout) == (0, "a\n  new, at 5 %\nb\n  new, at 100 %\n")
    assert result.stderr == (
        "Note: every flag is new: young.yaml does not exist at the revision HEAD\n"
    )
    named = run("diff", "git:HEAD:gone.yaml", "young.yaml")
    assert (named.exit_code, named.stdout) == (2, "")


def test_an_input_that_is_closed_is_told_in_a_line(directory: Path) -> None:
    closed = subprocess.run(
        [
            "/bin/sh",
            "-c",
            '"$@" <&-',
            "sh",
            *ROLLOUT,
            "cohort",
            "a",
            "--units",
            "-",
            "-f",
            "old.yaml",
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (closed.returncode, closed.stdout) == (2, "")
    assert closed.stderr.startswith("Error: standard input is closed")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_output_that_cannot_be_written_is_told_in_a_line(directory: Path) -> None:
    with Path("/dev/full").open("w") as full:
        broken = subprocess.run(
            [*ROLLOUT, "set", "a", "--percent", "6", "--file", "old.yaml"],
            cwd=directory,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert broken.returncode == 2
    assert broken.stderr.startswith("Error: the output cannot be written: No space left on device")
    assert "percent: 6" in (directory / "old.yaml").read_text()


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    made = Repo(tmp_path / "repo")
    monkeypatch.chdir(made.root)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    made.commit({"flags.yaml": TEXT, "other.yaml": "version: 1\nflags: {}\n"})
    return made


def moved(repo: Repo, to: str, was: str = "percent: 100", now: str = "percent: 1") -> None:
    (repo.root / to).parent.mkdir(exist_ok=True)
    repo.git("mv", "flags.yaml", to)
    (repo.root / to).write_text(TEXT.replace(was, now))


@pytest.mark.parametrize("committed", [True, False])
def test_a_file_that_has_moved_is_followed_to_whom_it_throws_out(
    repo: Repo, committed: bool
) -> None:
    moved(repo, "cfg/flags.yaml")
    if committed:
        repo.commit({})
    result = run("diff", f"git:HEAD{'~1' if committed else ''}", "cfg/flags.yaml")
    assert result.exit_code == 1
    assert "percent: 100 % -> 1 %: 99 % leave" in result.stdout
    rev = "HEAD~1" if committed else "HEAD"
    assert f"Note: cfg/flags.yaml was flags.yaml at {rev}\n" in result.stderr
    assert "b would throw out some of its units" in result.stderr
    strict = run("check", "--strict", "--base", f"git:{rev}", "--max-step", "5", "cfg/flags.yaml")
    assert "Note: cfg/flags.yaml was flags.yaml" in strict.stderr


def test_a_file_that_may_have_been_any_of_several_is_not_guessed(repo: Repo) -> None:
    repo.commit({"old.yaml": TEXT})
    moved(repo, "cfg/flags.yaml")
    repo.git("rm", "-q", "old.yaml")
    result = run("diff", "git:HEAD", "cfg/flags.yaml")
    assert result.exit_code == 1
    assert "the flags of cfg/flags.yaml were in flags.yaml and old.yaml" in result.stderr
    assert "Hint: name the file to compare with: git:HEAD:flags.yaml" in result.stderr
    assert run("diff", "git:HEAD:old.yaml", "cfg/flags.yaml").exit_code == 1


def test_a_file_beside_one_that_stays_is_new(repo: Repo) -> None:
    (repo.root / "second.yaml").write_text(TEXT)
    result = run("diff", "git:HEAD", "second.yaml")
    assert result.exit_code == 0
    assert "Note: every flag is new" in result.stderr


def test_a_branch_behind_its_base_is_compared_with_where_it_branched_off(repo: Repo) -> None:
    repo.git("checkout", "-q", "-b", "feature")
    repo.git("checkout", "-q", "main")
    repo.commit({"flags.yaml": TEXT.replace("percent: 5", "percent: 50")})
    repo.git("checkout", "-q", "feature")
    (repo.root / "flags.yaml").write_text(TEXT.replace("percent: 5", "percent: 7"))
    assert run("diff", "git:main", "flags.yaml").exit_code == 1, "as if it took main's bump back"
    for spec in ("git:main...feature", "git:main...", "git:main...HEAD"):
        result = run("diff", spec, "flags.yaml")
        assert result.exit_code == 0, result.output
        assert "percent: 5 % -> 7 %" in result.stdout
    repo.git("checkout", "-q", "--orphan", "other")
    repo.commit({"flags.yaml": TEXT, "more.txt": "x"})
    result = run("diff", "git:main...other", "flags.yaml")
    assert result.exit_code == 2
    assert "git knows no common ancestor of main...other" in result.stderr


def test_markdown_is_a_comment_and_the_summary_of_the_step(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(directory / "summary.md"))
    new("percent: 100", "percent: 10, owner: '*me*'")
    asked = ("diff", "old.yaml", "new.yaml", "--units", "units.txt", "--allow-eviction")
    result = run(*asked, "--markdown")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == ["### Flags", ""]
    assert lines[2].startswith("- **b**: ⚠️ throws out ")
    assert "  - percent: 100 % -\\> 10 %: 90 % leave, the last in first" in lines
    assert "  - owner: none -\\> \\*me\\*" in lines
    assert lines[-1].startswith("  - of 1,000 units 0 enter, ")
    assert (directory / "summary.md").read_text() == result.stdout
    run(*asked)
    assert (directory / "summary.md").read_text() == result.stdout * 2
    same = run("diff", "old.yaml", "old.yaml", "--markdown")
    assert same.stdout == "### Flags\n\nNo flag changes.\n"


def test_a_revision_without_its_git_is_recognised(repo: Repo) -> None:
    result = run("diff", "HEAD", "flags.yaml")
    assert result.exit_code == 2
    assert "Hint: did you mean git:HEAD?" in result.stderr
    assert repo.root.exists()
