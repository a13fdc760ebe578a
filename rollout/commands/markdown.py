"""A diff as Markdown: for a comment on a pull request, and for GitHub's summary of a step."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rollout.review.cohort import Tally
from rollout.review.diff import FlagDiff
from rollout.wording import count


def markdown(diffs: Sequence[FlagDiff], counts: Mapping[str, Tally]) -> str:
    """What changes, flag by flag, with whom it throws out first, and who moves if it is known."""
    return "\n".join([*_lines(diffs, counts), ""])


def add_to_step_summary(text: str) -> None:
    """Add it to the summary of the step, where GitHub Actions has one."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(text)


def _lines(diffs: Sequence[FlagDiff], counts: Mapping[str, Tally]) -> Iterator[str]:
    yield "### Flags"
    yield ""
    if not diffs:
        yield "No flag changes."
        return
    for each in diffs:
        tally = counts.get(each.key)
        whom = each.thrown_out(tally)
        yield f"- **{_plain(each.key)}**" + (f": ⚠️ throws out {_plain(whom)}" if whom else "")
        for change in each.changes:
            said = change.text if change.what == "flag" else f"{change.what}: {change.text}"
            yield f"  - {_plain(said)}"
        if tally:
            moved = f"{tally.enters:,} enter, {tally.leaves:,} leave"
            inside = f"{tally.inside_before:,} inside before, {tally.inside_after:,} after"
            yield f"  - of {count(sum(tally), 'unit')} {moved}: {inside}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>#|~" else sign for sign in text)
