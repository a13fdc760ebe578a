"""The promises under "Bucketing is a published standard" that need no flag."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cbor2
import mmh3
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollout.bucketing import BUCKETS, bucket, heads, limit
from rollout.errors import InvalidValue
from tests.rollout.strategies import salts, thresholds, units

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bucketing.json").read_text("utf-8"))


@pytest.mark.parametrize("vector", VECTORS["vectors"])
def test_the_pinned_buckets_never_change(vector: dict[str, str | int]) -> None:
    assert bucket(str(vector["salt"]), str(vector["unit"])) == vector["bucket"]


@given(salts, units)
@example("deploy-retries", "")
@example("s", "x" * 23)
@example("s", "x" * 24)
@example("s", "x" * 255)
@example("s", "x" * 256)
@example("s", "x" * 65_535)
@example("s", "x" * 65_536)
@example("s" * 256, "\U0001f680" * 64)
def test_a_bucket_is_the_hash_of_the_canonical_cbor_of_salt_and_unit(salt: str, unit: str) -> None:
    encoded = cbor2.dumps([salt, unit], canonical=True)
    assert bucket(salt, unit) == (mmh3.hash(encoded, seed=0, signed=False) * 100_000) >> 32


@given(salts, units.filter(lambda unit: len(unit.encode()) <= 255))
@example("s", "x" * 255)
def test_the_heads_lead_to_the_same_bucket(salt: str, unit: str) -> None:
    data = unit.encode()
    whole = heads(salt)[len(data)] + data
    assert (mmh3.hash(whole, seed=0, signed=False) * BUCKETS) >> 32 == bucket(salt, unit)


@given(thresholds, st.integers(0, 2**32 - 1))
def test_comparing_hashes_is_comparing_buckets(threshold: int, place: int) -> None:
    assert (place < limit(threshold)) is ((place * BUCKETS) >> 32 < threshold)


@given(thresholds)
@example(0)
@example(100_000)
def test_the_limit_is_exact_to_the_last_hash(threshold: int) -> None:
    first_outside = limit(threshold)
    assert first_outside == 0 or ((first_outside - 1) * BUCKETS) >> 32 < threshold
    assert (first_outside * BUCKETS) >> 32 >= threshold


@given(salts, units)
def test_any_text_that_utf8_can_carry_has_a_bucket(salt: str, unit: str) -> None:
    assert 0 <= bucket(salt, unit) < BUCKETS


@given(units, st.integers(0xD800, 0xDFFF), units)
def test_a_lone_surrogate_is_an_error_and_not_a_crash(before: str, code: int, after: str) -> None:
    with pytest.raises(InvalidValue, match="not text that UTF-8 can carry"):
        bucket("salt", before + chr(code) + after)
    with pytest.raises(InvalidValue, match="not text that UTF-8 can carry"):
        bucket(before + chr(code) + after, "unit")


def test_other_processes_find_the_same_buckets() -> None:
    program = (
        "from rollout.bucketing import bucket; print([bucket('s', str(i)) for i in range(50)])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert answers == {f"{[bucket('s', str(i)) for i in range(50)]}\n"}


def test_the_share_is_uniform() -> None:
    count = 50_000
    found = Counter(bucket("deploy-retries", f"app-{i}") // 1000 for i in range(count))
    expected = count / 100
    chi_square = sum((found[i] - expected) ** 2 / expected for i in range(100))
    # 99 degrees of freedom: mean 99, standard deviation sqrt(198); the units are fixed.
    assert abs(chi_square - 99) < 4 * math.sqrt(198)


def test_the_cohorts_of_two_salts_are_independent() -> None:
    count, share = 50_000, 0.2
    both = sum(
        bucket("one", f"app-{i}") < share * BUCKETS and bucket("two", f"app-{i}") < share * BUCKETS
        for i in range(count)
    )
    expected = count * share * share
    assert abs(both - expected) < 4 * math.sqrt(expected * (1 - share * share))
