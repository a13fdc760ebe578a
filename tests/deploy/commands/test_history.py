from __future__ import annotations

import json

from deploy.commands.history import PastRelease, show_history


def test_a_history_marks_what_runs_now() -> None:
    past = [
        PastRelease(number=2, deploy="d2", image="x:2", machines=3, is_current=True),
        PastRelease(number=1, deploy="d1", image="x:1", machines=3, is_current=False),
    ]
    lines = show_history("hello", past, as_json=False).splitlines()
    assert lines[1].endswith("runs now")
    assert "x:1" in lines[2]
    assert json.loads(show_history("hello", past, as_json=True))["releases"][0]["number"] == 2
    assert "no history" in show_history("hello", [], as_json=False)
