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

from rollout.bucketing import BUCKETS, GENERATIONS, Draw, Generation, bucket, hash32, heads, limit
from rollout.errors import InvalidValue
from tests.rollout.strategies import draws, salts, thresholds, units

FILES: dict[Generation, str] = {"flagd-3": "bucketing.json", "flagd-2": "bucketing-flagd-2.json"}
VECTORS = [
    (generation, vector)
    for generation, name in FILES.items()
    for vector in json.loads((Path(__file__).parents[1] / "vectors" / name).read_text("utf-8"))[
        "vectors"
    ]
]


@pytest.mark.parametrize(("generation", "vector"), VECTORS)
def test_the_pinned_buckets_never_change(
    generation: Generation, vector: dict[str, str | int]
) -> None:
    draw = Draw(str(vector["salt"]), generation)
    assert bucket(draw, str(vector["unit"])) == vector["bucket"]
    assert hash32(draw, str(vector["unit"])) == vector["hash"]


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
    assert bucket(Draw(salt), unit) == (mmh3.hash(encoded, seed=0, signed=False) * 100_000) >> 32


@given(salts, units)
@example("deploy-retries", "x" * 70_000)
@example("é", "\U0001f680" * 64)
def test_a_bucket_of_the_second_generation_is_the_hash_of_both_texts(salt: str, unit: str) -> None:
    whole = mmh3.hash((salt + unit).encode(), seed=0, signed=False)
    assert bucket(Draw(salt, "flagd-2"), unit) == (whole * 100_000) >> 32


@given(draws, units.filter(lambda unit: len(unit.encode()) <= 255))
@example(Draw("s"), "x" * 255)
def test_the_heads_lead_to_the_same_bucket(draw: Draw, unit: str) -> None:
    data = unit.encode()
    whole = heads(draw)[len(data)] + data
    assert (mmh3.hash(whole, seed=0, signed=False) * BUCKETS) >> 32 == bucket(draw, unit)


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


@given(draws, units)
def test_any_text_that_utf8_can_carry_has_a_bucket(draw: Draw, unit: str) -> None:
    assert 0 <= bucket(draw, unit) < BUCKETS


@given(units, st.integers(0xD800, 0xDFFF), units)
def test_a_lone_surrogate_is_an_error_and_not_a_crash(before: str, code: int, after: str) -> None:
    with pytest.raises(InvalidValue, match="not text that UTF-8 can carry"):
        bucket(Draw("salt"), before + chr(code) + after)
    with pytest.raises(InvalidValue, match="not text that UTF-8 can carry"):
        bucket(Draw(before + chr(code) + after), "unit")


def test_other_processes_find_the_same_buckets() -> None:
    program = (
        "from rollout.bucketing import Draw, bucket;"
        "print([bucket(Draw('s'), str(i)) for i in range(50)])"
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
    assert answers == {f"{[bucket(Draw('s'), str(i)) for i in range(50)]}\n"}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_share_is_uniform(generation: Generation) -> None:
    count = 50_000
    draw = Draw("deploy-retries", generation)
    found = Counter(bucket(draw, f"app-{i}") // 1000 for i in range(count))
    expected = count / 100
    chi_square = sum((found[i] - expected) ** 2 / expected for i in range(100))
    # 99 degrees of freedom: mean 99, standard deviation sqrt(198); the units are fixed.
    assert abs(chi_square - 99) < 4 * math.sqrt(198)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Draw("one"), Draw("two")),
        (Draw("one", "flagd-2"), Draw("two", "flagd-2")),
        (Draw("one"), Draw("one", "flagd-2")),
    ],
)
def test_the_cohorts_of_two_draws_are_independent(one: Draw, two: Draw) -> None:
    count, share = 50_000, 0.2
    limit_of = share * BUCKETS
    names = [f"app-{i}" for i in range(count)]
    both = sum(bucket(one, unit) < limit_of and bucket(two, unit) < limit_of for unit in names)
    expected = count * share * share
    assert abs(both - expected) < 4 * math.sqrt(expected * (1 - share * share))
