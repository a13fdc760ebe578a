"""docs/flags-yaml.md names every key of the schema, and its example and README's are in order."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.retries import from_flag
from rollout import Flags

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "flags-yaml.md").read_text("utf-8")
SCHEMA = json.loads((ROOT / "flags.schema.json").read_text("utf-8"))
PLACES = {
    "The file": SCHEMA["properties"],
    "A flag": SCHEMA["$defs"]["flag"]["properties"],
    "A step of a ramp": SCHEMA["$defs"]["step"]["properties"],
    "A variant": SCHEMA["$defs"]["variant"]["properties"],
    "A guard": SCHEMA["$defs"]["guard"]["properties"],
}


@pytest.mark.parametrize("heading", PLACES)
def test_a_table_names_exactly_the_keys_of_the_schema(heading: str) -> None:
    section = re.split(r"^## ", PAGE.partition(f"\n## {heading}\n")[2], flags=re.MULTILINE)[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(PLACES[heading])


def test_the_example_can_be_read_and_means_what_it_shows(tmp_path: Path) -> None:
    block = re.search(r"^```yaml\n(version.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    path = tmp_path / "flags.yaml"
    path.write_text(block[1])
    flags = Flags.load(path)
    assert flags.evaluate("new-search", user="ada").value is True
    assert flags.evaluate("new-search", user="ada", org="initech").value is False


@pytest.mark.parametrize("app", ["hello", "a", "another-app"])
def test_three_lines_of_ones_own_decide_for_every_app(tmp_path: Path, app: str) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"^```yaml\n(version.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert block is not None
    assert len(block[1].splitlines()) == 3
    path = tmp_path / "deploy-flags.yaml"
    path.write_text(block[1])
    asked = from_flag(str(path), context={"app": app}, now=datetime.now(UTC))
    assert (asked.count, asked.path, asked.warning) == (5, "retrying", "")
