"""A file changes whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rollout.errors import EditRefused
from rollout.sources.rewrite import rewrite
from tests.rollout.files import written


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flags.yaml"
    path.write_bytes(b"old")
    return path


def test_the_mode_stays(file: Path) -> None:
    for mode in (0o600, 0o664, 0o755):
        file.chmod(mode)
        rewrite(file, lambda path: (path.read_bytes(), b"new"))
        assert file.read_bytes() == b"new"
        assert file.stat().st_mode & 0o7777 == mode


def test_a_symbolic_link_stays_one_and_its_file_changes(file: Path) -> None:
    directory = file.parent / "elsewhere"
    directory.mkdir()
    link = directory / "link.yaml"
    link.symlink_to("../flags.yaml")
    rewrite(link, lambda path: (path.read_bytes(), b"new"))
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert list(directory.iterdir()) == [link]


def test_none_leaves_the_file_alone(file: Path) -> None:
    before = written(file)
    rewrite(file, lambda _: None)
    assert written(file) == before


def test_a_change_by_somebody_else_meanwhile_is_kept(file: Path) -> None:
    def change(path: Path) -> tuple[bytes, bytes]:
        path.write_bytes(b"theirs")
        return b"old", b"ours"

    with pytest.raises(EditRefused, match="changed by somebody else"):
        rewrite(file, change)
    assert file.read_bytes() == b"theirs"
    assert list(file.parent.iterdir()) == [file]


def test_an_error_on_the_way_leaves_everything_as_it_was(file: Path) -> None:
    def change(_: Path) -> tuple[bytes, bytes]:
        raise EditRefused("no")

    with pytest.raises(EditRefused, match="no"):
        rewrite(file, change)
    assert file.read_bytes() == b"old"
    assert list(file.parent.iterdir()) == [file]


def test_a_directory_that_is_not_there_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(EditRefused, match="cannot be written: No such file or directory"):
        rewrite(tmp_path / "no" / "flags.yaml", lambda _: (b"", b""))


def test_concurrent_rewrites_all_count(file: Path) -> None:
    file.write_bytes(b"")

    def append(path: Path) -> tuple[bytes, bytes]:
        old = path.read_bytes()
        return old, old + b"x"

    threads = [threading.Thread(target=rewrite, args=(file, append)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_bytes() == b"x" * 20
