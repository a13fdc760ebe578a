"""The text of the flags comes from the package or from a path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rollout.cli import cli
from rollout.errors import NoSuchSource, SourceProblem
from rollout.sources import source
from rollout.sources.text import Text

ROOT = Path(__file__).parents[3]


def test_without_a_path_it_is_the_bundled_file() -> None:
    text = source.read()
    assert text.data == (ROOT / "flags.yaml").read_bytes()
    assert text.source == "the bundled flags.yaml"


def test_an_installed_package_brings_its_own_copy(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "rollout", tmp_path / "rollout")
    (tmp_path / "flags.yaml").write_text("somebody else's")
    (tmp_path / "rollout" / "flags.yaml").write_text("ours")
    program = "from rollout.sources import source; print(source.__file__, source.read().data)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path / 'rollout' / 'sources' / 'source.py'} b'ours'\n"


def test_a_path_is_read_and_named_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_bytes(b"\xef\xbb\xbfversion: 1\r\n")
    assert source.read("mine.yaml") == Text(b"\xef\xbb\xbfversion: 1\r\n", "mine.yaml")
    assert source.read(Path("mine.yaml")).source == "mine.yaml"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nothing.yaml", "nothing.yaml does not exist"),
        ("no/such/dir.yaml", "no/such/dir.yaml does not exist"),
        (".", ". is a directory"),
        ("a\0b", '"a\\x00b" cannot be read: embedded null byte'),
        ("x" * 300, "cannot be read: File name too long"),
        ("ftp://host/flags.yaml", "ftp://host/flags.yaml is neither a path nor an address"),
    ],
)
def test_what_cannot_be_read_is_named(
    spec: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceProblem) as caught:
        source.read(spec)
    assert said in caught.value.message
    assert isinstance(caught.value, NoSuchSource) is said.endswith("does not exist")
    assert caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.touch(mode=0o000)
    with pytest.raises(SourceProblem, match="cannot be read: Permission denied"):
        source.read(path)


def test_of_a_huge_file_only_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    assert len(source.read(path).data) == (1 << 20) + 1


@pytest.mark.parametrize("spec", ["https://flags.example/flags.yaml", "git:HEAD"])
def test_what_is_no_path_cannot_be_changed(spec: str) -> None:
    with pytest.raises(SourceProblem, match="can be read, but not changed"):
        source.changeable(spec)
    result = CliRunner().invoke(cli, ["set", "a", "--percent", "5", "--file", spec])
    assert result.exit_code == 2
    assert result.output.startswith(f"Error: {spec} can be read, but not changed\nHint: ")
