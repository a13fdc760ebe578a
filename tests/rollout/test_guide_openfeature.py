"""docs/openfeature.md shows what happens."""

from __future__ import annotations

import doctest
import json
import re
from importlib.metadata import version
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


def test_the_table_has_the_versions_that_the_tests_install() -> None:
    clients = Path(__file__).parent / "serving" / "clients"
    node = json.loads((clients / "package.json").read_text())["dependencies"]
    go = "".join((clients / "go" / name / "go.mod").read_text() for name in ("flagd", "ofrep"))
    (of_flagd,) = re.findall(r"flagd/core v(\S+)", go)
    (of_ofrep,) = re.findall(r"providers/ofrep v(\S+)", go)
    (of_go,) = re.findall(r"go-sdk v(\S+)", go)
    rows = {
        "OpenFeature for Python, our provider": f"SDK {version('openfeature-sdk')}",
        "OFREP for Python": f"provider {version('openfeature-provider-ofrep')}",
        "OFREP for Node": f"provider {node['@openfeature/ofrep-provider']}, "
        f"SDK {node['@openfeature/server-sdk']}",
        "OFREP for browsers": f"provider {node['@openfeature/ofrep-web-provider']}, "
        f"SDK {node['@openfeature/web-sdk']}",
        "OFREP for Go": f"provider {of_ofrep}, SDK {of_go}",
        "flagd for Python": f"provider {version('openfeature-provider-flagd')}, "
        f"flagd-core {version('openfeature-flagd-core')}",
        "flagd for JavaScript": f"flagd-core {node['@openfeature/flagd-core']}",
        "flagd itself (Go)": f"core {of_flagd}",
    }
    guide = GUIDE.read_text()
    for client, tried in rows.items():
        assert f"| {client} | {tried} |" in guide


def test_the_file_of_the_guide_can_be_exported(file: Path) -> None:
    assert list(to_flagd(Flags.load(file).values())["flags"]) == ["deploy-retries"]
