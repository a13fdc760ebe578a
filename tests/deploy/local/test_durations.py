from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.local.durations import canonical, parse_s, render


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("15s", 15, "15s"),
        ("15000ms", 15, "15s"),
        ("90s", 90, "1m30s"),
        ("1m", 60, "1m0s"),
        ("1.5h", 5400, "1h30m0s"),
        ("0.5s", 0.5, "500ms"),
        ("250us", 0.00025, "250µs"),
        ("250µs", 0.00025, "250µs"),
        ("7ns", 7e-9, "7ns"),
        ("0", 0, "0s"),
        ("0s", 0, "0s"),
        ("1h0m0.25s", 3600.25, "1h0m0.25s"),
    ],
)
def test_durations_are_read_and_shown_as_go_does(text: str, seconds: float, shown: str) -> None:
    assert parse_s(text) == pytest.approx(seconds)
    assert canonical(text) == shown


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "-5s", "5d", "five", "1e3s", "٣s", "9" * 40 + "s", "999999999h"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_s(text)


@given(st.integers(min_value=0, max_value=10**12).map(lambda ms: ms / 1000))
@example(0.001)
@example(3600.0)
def test_what_is_shown_reads_back_as_the_same_duration(seconds: float) -> None:
    if seconds <= 10 * 365 * 24 * 3600:
        assert parse_s(render(seconds)) == pytest.approx(seconds)
