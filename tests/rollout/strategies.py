"""What hypothesis draws flags, units and flags files from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import strategies as st

from rollout.bucketing import GENERATIONS, Draw, Generation
from rollout.flag import Flag, Variant, percent_text

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

units = st.text(min_size=1)
"""Any text that UTF-8 can carry and that is not empty."""

salts = st.text(min_size=1)
generations: st.SearchStrategy[Generation] = st.sampled_from(GENERATIONS)
draws = st.builds(Draw, salts, generations)
thresholds = st.integers(0, 100_000)
keys = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
values = st.sampled_from([(5, 0), (True, False), ("new", "old")])
moments = st.timedeltas(timedelta(0), timedelta(days=3650)).map(lambda after: NOW + after)


def flag(threshold: int = 5000, key: str = "deploy-retries", draw: Draw | None = None) -> Flag:
    """A flag by app, worth 5 inside and 0 outside."""
    salt, generation = draw or Draw(key)
    return Flag(
        key=key, bucket_by="app", inside=5, outside=0, rollout=threshold, salt=salt,
        bucketing=generation,
    )  # fmt: skip


_comments = st.from_regex(r"( +#[ a-z<>%:{}\[\]-]{0,20})?", fullmatch=True)
_line_ends = st.sampled_from(["\n", "\r\n"])


@st.composite
def flag_texts(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """The text of a flags file that is in order, and the threshold of each of its flags.

    Flags in block and in flow style, with quotes, comments, blank lines, BOM, CRLF
    and characters outside the BMP.
    """
    expected: dict[str, int] = {}
    lines = ["version: 1" + draw(_comments), "flags:" + draw(_comments)]
    for key in draw(st.lists(keys, min_size=1, max_size=4, unique=True)):
        threshold = expected[key] = draw(thresholds)
        percent = percent_text(threshold)
        inside, outside = draw(values)
        words = [str(value).lower() for value in (inside, outside)]
        fields = [
            "bucket_by: app",
            f"percent: {percent}",
            f"inside: {words[0]}",
            f"outside: {words[1]}",
            "description: '🚀 percent: 7'",
        ]
        fields = draw(st.permutations(fields))
        if draw(st.booleans()):
            lines.append(f'  "{key}": {{{", ".join(fields)}}}' + draw(_comments))
        else:
            lines.append(f'  "{key}":' + draw(_comments))
            lines += ["    " + field + draw(_comments) for field in fields]
        lines += draw(st.sampled_from([[], [""], ["# percent: 12"]]))
    end = draw(_line_ends)
    return draw(st.sampled_from(["", "\ufeff"])) + end.join(lines) + draw(
        st.sampled_from(["", end])
    ), expected


@st.composite
def varied(draw: st.DrawFn, drawn_with: Draw | None = None) -> Flag:
    """A flag with two to five variants, each worth its place."""
    count = draw(st.integers(2, 5))
    cuts = sorted(draw(st.lists(thresholds, min_size=count - 1, max_size=count - 1)))
    weights = [after - before for before, after in pairwise([0, *cuts, 100_000])]
    return with_weights(weights, drawn_with or draw(draws))


def with_weights(weights: list[int], draw: Draw) -> Flag:
    """A flag by app with these weights; its variants are v0, v1, ..., worth 0, 1, ..."""
    variants = tuple(Variant(f"v{i}", weight, i) for i, weight in enumerate(weights))
    return Flag(
        key="a", bucket_by="app", inside=0, outside=len(weights) - 1,
        rollout=100_000 - weights[-1], salt=draw.salt, bucketing=draw.generation,
        variants=variants,
    )  # fmt: skip
