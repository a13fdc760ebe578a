"""docs/openfeature.md shows what happens."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from rollout import Flags
from rollout.live import Live
from rollout.serving import ofrep
from rollout.serving.export import to_flagd

GUIDE = Path(__file__).parents[2] / "docs" / "openfeature.md"


def block(language: str) -> str:
    """The one block of that language in the guide."""
    (found,) = re.findall(
        rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL
    )
    return str(found)


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "flags.yaml"
    path.write_text(block("yaml"))
    return path


def test_the_python_example_runs_as_written() -> None:
    result = doctest.testfile(str(GUIDE), module_relative=False)
    assert result.attempted > 10
    assert result.failed == 0


def test_the_request_by_hand_is_answered_as_shown(file: Path) -> None:
    shown = re.search(r"^curl -d '(.*)' \\\n  http://[^/]*(/.*)$", GUIDE.read_text(), re.MULTILINE)
    assert shown
    data, url = shown.groups()

    async def ask() -> Any:
        transport = httpx.ASGITransport(ofrep.app(Live(file)))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return (await client.post(url, content=data)).json()

    assert anyio.run(ask) == json.loads(block("json"))


def test_the_file_of_the_guide_can_be_exported(file: Path) -> None:
    assert list(to_flagd(Flags.load(file).values())["flags"]) == ["deploy-retries"]
