from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.commands.notifying import open_notifier
from deploy.commands.options import NOTIFY
from deploy.commands.target import Target
from deploy.errors import UsageProblem
from deploy.notify.notifier import Notifier


def opened(directory: Path, environ: dict[str, str] | None = None, **options: Any) -> Notifier:
    target = Target(app="a", config=None, address="", token="", directory=str(directory))
    return open_notifier(target, options, environ or {}, lambda: 0.0, print)


@pytest.mark.parametrize("option", [{"webhook": "s3cret"}, {"webhook": "file:///s3cret"}])
def test_an_option_that_makes_no_sense_is_refused_without_its_secret(
    tmp_path: Path, option: dict[str, Any]
) -> None:
    with pytest.raises(UsageProblem) as refused:
        opened(tmp_path, **option)
    assert "--webhook" in refused.value.message
    assert "s3cret" not in refused.value.message


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="No such file"):
        opened(tmp_path, notify_path=tmp_path / "other.toml")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"#" * (1024 * 1024 + 1)])
def test_a_file_that_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "tidegate.toml").write_bytes(data)
    with pytest.raises(UsageProblem, match=r"tidegate\.toml"):
        opened(tmp_path)


def test_the_option_names_are_those_that_are_read(tmp_path: Path) -> None:
    """A name that `open_notifier` did not read would do nothing, silently."""
    read: set[str] = set()

    class Spied(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            read.add(key)
            return default

    target = Target(app="a", config=None, address="", token="", directory=str(tmp_path))
    open_notifier(target, Spied(), {}, lambda: 0.0, print)
    assert {param.name for param in NOTIFY.params} == read
