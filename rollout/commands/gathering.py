"""Options that say which records, and the account that is made of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from rollout.commands import options
from rollout.errors import InvalidValue, NotCompared, SourceProblem
from rollout.file.edit import flag_in
from rollout.flag import Flag
from rollout.flag.guard import Event, Guard, parse_event
from rollout.outcomes import rows, state
from rollout.outcomes.account import Account
from rollout.outcomes.ledger import Ledger
from rollout.outcomes.observed import Observed, Reason
from rollout.outcomes.question import Question
from rollout.outcomes.record import Record
from rollout.sources import coins, halves, parquet
from rollout.sources.output import write
from rollout.sources.reports import Reports
from rollout.wording import show

DIRECTORY = "DEPLOY_REPORTS"
"""Where deploys write their reports; read where no PLACE is given."""


class Given(msgspec.Struct, frozen=True):
    """What the options say: where the records are, what counts, and the flags file."""

    flag: str
    reports: tuple[str, ...]
    coins: str | None
    state: str | None
    event: Event | None
    now: datetime
    file: str

    @property
    def places(self) -> tuple[str, ...]:
        """The places given, or the one that deploys write to."""
        known = os.environ.get(DIRECTORY)
        return self.reports or ((known,) if known and not self.coins else ())


def reports_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--reports, --coins, --state, --event, and places as arguments, as a shell makes of *."""
    for option in (
        click.option("--event", metavar="EVENT", help="not-done, platform, in-between, slower:S."),
        click.option("--state", metavar="FILE", help="Go on from there; it is written anew."),
        click.option("--coins", metavar="FILE|-", help="Rows that --sql selected, CSV or JSON."),
        click.option(
            "--reports", multiple=True, metavar="PLACE",
            help=f"A file, directory, pattern in quotes, or -; ${DIRECTORY} if not given.",
        ),
        click.argument("places", metavar="[PLACE]...", nargs=-1),
    ):  # fmt: skip
        command = option(command)
    return command


def event_of(text: str | None) -> Event | None:
    """The value of --event; raises InvalidValue."""
    if text is None:
        return None
    if (found := parse_event(text)) is None:
        raise InvalidValue(
            f"--event {show(text)} is not an event",
            hint="write not-done, platform, in-between or slower:SECONDS",
        )
    return found


def flag_of(given: Given) -> tuple[Flag, Guard]:
    """The flag in the file, and its guard with what the options say; raises NotCompared."""
    flag = flag_in(options.load(given.file), given.flag)
    if flag.variants:
        raise NotCompared(
            f"{given.flag} has variants, and outcomes are compared between two sides",
            hint="write inside, outside and percent instead of variants to compare them",
        )
    guard = flag.guard or Guard()
    return flag, msgspec.structs.replace(guard, event=given.event or guard.event)


def question_of(flag: Flag, guard: Guard, now: datetime) -> Question:
    """What is asked of the records."""
    return Question(flag.key, flag.bucket_by, flag.draw, guard.event, now.timestamp())


def account_of(given: Given) -> Account:
    """Read the records, and the state if there is one, which is then written anew."""
    flag, guard = flag_of(given)
    question = question_of(flag, guard, given.now)
    ledger = _ledger(given, question, guard)
    reports = _reports(given)
    found = [*observed(reports, ledger.question), *_of_coins(given, ledger.question)]
    ledger.take(*found)
    ledger.question = question
    if given.state is not None:
        write(Path(given.state), state.dump(ledger))
    return Account.of(flag, ledger, left_out(found), tuple(notes_of(reports)))


def _reports(given: Given) -> Reports[Record]:
    if not (given.places or given.coins or _goes_on(given.state)):
        raise InvalidValue(
            "no records are given",
            hint="write --reports with a file, a directory, a pattern in quotes or -, "
            f"or set {DIRECTORY} to where deploys write theirs",
        )
    reports = Reports(given.places, Record)
    if given.state is not None and (given.coins or reports.parquet):
        raise InvalidValue(
            "--state goes with reports in JSON only",
            hint="leave --state out: the database has all records anyway",
        )
    return reports


def _goes_on(path: str | None) -> bool:
    """Whether there is a state to go on from."""
    return path is not None and Path(path).exists()


def _ledger(given: Given, question: Question, guard: Guard) -> Ledger:
    if given.state is None or not _goes_on(given.state):
        return Ledger(question, guard)
    try:
        data = Path(given.state).read_bytes()
    except OSError as error:
        raise SourceProblem(
            f"{show(given.state)} cannot be read: {error.strerror}", hint="give another --state"
        ) from None
    return state.load(data, question, guard, show(given.state))


def observed(reports: Reports[Record], question: Question) -> Iterator[Observed]:
    """What files of JSON say, and what files of Parquet do."""
    if reports.files:
        yield halves.observed(reports, question)
    if reports.parquet:
        selected = parquet.rows(reports.parquet, question)
        yield rows.observed(selected, question, reports.parquet[0])


def left_out(found: Iterable[Observed]) -> Counter[Reason]:
    """How many records were left out for each reason."""
    return sum((part.left for part in found), Counter())


def _of_coins(given: Given, question: Question) -> Iterator[Observed]:
    if given.coins:
        yield rows.observed(coins.rows(given.coins), question, show(given.coins))


def notes_of(reports: Reports[Any]) -> list[str]:
    notes = [f"nothing is at {show(place)}" for place in reports.empty]
    notes += reports.broken
    if more := reports.broken_count - len(reports.broken):
        notes.append(f"... and {more:,} more places that cannot be read")
    return notes
