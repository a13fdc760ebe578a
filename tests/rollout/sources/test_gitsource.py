"""Flags as they were at a revision."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.errors import NoSuchSource, SourceProblem
from rollout.sources import source
from rollout.sources.text import Text
from tests.rollout.repo import Repo


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    made = Repo(tmp_path / "repo")
    made.commit({"flags.yaml": "first\r\n", "config/other.yaml": "other\n"})
    made.git("tag", "v1")
    made.commit({"flags.yaml": "second\n"})
    monkeypatch.chdir(made.root)
    return made


@pytest.mark.parametrize(
    ("spec", "data", "name"),
    [
        ("git:v1", b"first\r\n", "git:v1:flags.yaml"),
        ("git:HEAD", b"second\n", "git:HEAD:flags.yaml"),
        ("git:main~1:flags.yaml", b"first\r\n", "git:main~1:flags.yaml"),
        ("git:v1:config/other.yaml", b"other\n", "git:v1:config/other.yaml"),
        ("git:v1:./config/../flags.yaml", b"first\r\n", "git:v1:./config/../flags.yaml"),
    ],
)
@pytest.mark.usefixtures("repo")
def test_a_revision_names_a_text_byte_for_byte(spec: str, data: bytes, name: str) -> None:
    assert source.read(spec) == Text(data, name)


def test_paths_are_those_of_the_working_directory(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo.root / "config")
    assert source.read("git:v1:../flags.yaml").data == b"first\r\n"
    monkeypatch.chdir(repo.root.parent)
    assert source.read("git:v1:repo/flags.yaml").data == b"first\r\n"
    assert source.read(f"git:v1:{repo.root}/flags.yaml").data == b"first\r\n"


def test_a_file_that_is_gone_from_the_work_tree_is_still_found(repo: Repo) -> None:
    (repo.root / "config" / "other.yaml").unlink()
    (repo.root / "config").rmdir()
    assert source.read("git:v1:config/other.yaml").data == b"other\n"


def test_a_link_to_the_file_is_followed(repo: Repo) -> None:
    link = repo.root.parent / "link.yaml"
    link.symlink_to(repo.root / "flags.yaml")
    assert source.read(f"git:v1:{link}").data == b"first\r\n"


@pytest.mark.parametrize(
    ("spec", "said", "hint"),
    [
        ("git:nothing", "git knows no revision nothing", "git branch --all"),
        ("git:v1^9", "git knows no revision v1^9", "git branch --all"),
        ("git:", 'git: "" is not a revision', "write git:REV"),
        ("git:--output=x", "git: --output=x is not a revision", "write git:REV"),
        ("git:a\nb", 'git: "a\\nb" is not a revision', "write git:REV"),
        ("git:\udcff", 'git: "\\udcff" is not a revision', "write git:REV"),
        ("git:v1:config", "config does not exist at the revision v1", "git:v1:PATH"),
        ("git:v1:no.yaml", "no.yaml does not exist at the revision v1", "git:v1:PATH"),
        ("git:HEAD:../../x", "is not in a git repository", "go to the directory"),
    ],
)
@pytest.mark.usefixtures("repo")
def test_what_git_does_not_have_is_named(spec: str, said: str, hint: str) -> None:
    with pytest.raises(SourceProblem) as caught:
        source.read(spec)
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert isinstance(caught.value, NoSuchSource) is ("does not exist" in said)


def test_a_shallow_clone_is_named_as_the_reason(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.git("clone", "-q", "--depth=1", f"file://{repo.root}", str(tmp_path / "shallow"))
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(SourceProblem, match="knows no revision HEAD~1") as caught:
        source.read("git:HEAD~1")
    assert "shallow" in caught.value.hint


@pytest.mark.usefixtures("repo")
def test_without_git_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceProblem, match="git is not installed"):
        source.read("git:HEAD")


def test_of_a_huge_file_only_the_limit_is_read(repo: Repo) -> None:
    repo.commit({"flags.yaml": "#" * (3 << 20)})
    assert len(source.read("git:HEAD").data) == (1 << 20) + 1


def test_a_revision_without_a_path_takes_the_other_files_path() -> None:
    assert source.beside("git:main", "config/flags.yaml") == "git:main:config/flags.yaml"
    assert source.beside("git:main:x", "y") == "git:main:x"
    assert source.beside("flags.yaml", "y") == "flags.yaml"
