"""The benchmark of deploys measures deploys that end well."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import deploys


def test_both_paths_deploy_each_fleet_and_every_column_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLYCTL", raising=False)
    out = tmp_path / "RESULTS.md"
    quick = ["--boot", "0.05", "--check", "0.02", "--latencies", "5", "--rounds", "1"]
    deploys.main(["--machines", "3", "--strategies", "rolling", *quick, "--out", str(out)])
    head, _, *rows = [line for line in out.read_text().splitlines() if line.startswith("|")]
    names = [cell.strip() for cell in head.split("|")[1:-1]]
    found = [dict(zip(names, map(str.strip, row.split("|")[1:-1]), strict=True)) for row in rows]
    assert [row["tool"] for row in found] == ["legacy", "retrying"]
    for row in found:
        assert row["exit"] == "0"
        assert row["hiccups"] == "0"
        assert "update 3" in row["by kind"]
        assert float(row["ratio"]) > 1
        assert float(row["CPU ms a machine"]) > 0
        assert float(row["peak MB"]) > 10
