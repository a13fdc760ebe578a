"""The benchmark of the server measures one that answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench import serve


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_a_server_is_asked_and_answers_without_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FLAGD", raising=False)
    monkeypatch.delenv("GO_FEATURE_FLAG", raising=False)
    out = tmp_path / "RESULTS.md"
    serve.main(["--seconds", "1", "--out", str(out)])
    rows = [
        line.split("|")[1:-1] for line in out.read_text().splitlines() if "| rollout serve" in line
    ]
    assert [row[0].strip() for row in rows] == [
        "rollout serve",
        "rollout serve, its file changes every second",
        "rollout serve --workers 1",
    ]
    for row in rows:
        per_s, p50_ms, p99_ms, memory_mb, failures = (float(c.replace(",", "")) for c in row[1:])
        assert per_s > 100
        assert 0 < p50_ms < p99_ms
        assert 10 < memory_mb < 60
        assert failures == 0
    assert capsys.readouterr().out.strip() in out.read_text()
