import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.flytoml.durations import format_duration, parse_duration_ns, parse_duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15s", 15),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("2us", 0.000002),
        ("2µs", 0.000002),
        ("0", 0),
        ("+3s", 3),
        ("-1.5s", -1.5),
    ],
)
def test_a_go_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "15", "s", ".s", "1 s", "1d", "--1s", "1s2", "٣s", "1e3s", "9" * 70 + "s", "3000000h"],
)
def test_anything_else_is_an_error_in_plain_words(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration_ns(text)


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (500_000_000, "500ms"),
        (15_000_000_000, "15s"),
        (90_000_000_000, "1m30s"),
        (3_600_000_000_000, "1h0m0s"),
        (1_010_000_000, "1.01s"),
        (-90_000_000_000, "-1m30s"),
    ],
)
def test_a_duration_is_written_as_go_writes_it(duration_ns: int, text: str) -> None:
    assert format_duration(duration_ns) == text


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_what_is_written_reads_back(duration_ns: int) -> None:
    assert parse_duration_ns(format_duration(duration_ns)) == duration_ns
