"""Records to try things on: as a run writes them, of apps that are where their hash says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from rollout.bucketing import Draw, bucket
from rollout.flag.guard import Event, Guard
from rollout.outcomes.ledger import Ledger
from rollout.outcomes.observed import observe
from rollout.outcomes.question import Question
from rollout.outcomes.record import Record

FLAG = "deploy-retries"
DRAW = Draw(FLAG)
START = 1_795_000_000.0  # 2026-11-18
DAY = 86_400.0
LATER = START + 1000 * DAY


def made(
    number: int = 0,
    app: str = "hello",
    percent: float | None = 50.0,
    result: str | None = "done",
    *,
    at: float | None = None,
    by: str = "app",
    **others: Any,
) -> dict[str, Any]:
    """A record of version 2; `number` makes its deploy and, if not given, its time."""
    deploy = f"d{number:08x}"
    unit = deploy if by == "deploy" else app
    place = bucket(DRAW, unit)
    inside = percent is not None and place < percent * 1000
    assigned = {
        "flag": FLAG,
        "unit": unit,
        "bucket": place,
        "percent": percent,
        "variant": "inside" if inside else "outside",
        "value": 5 if inside else 0,
        "reason": "SPLIT",
    }
    report: dict[str, Any] = {
        "v": 2,
        "at": START + number * 60.0 if at is None else at,
        "event": "report",
        "app": app,
        "deploy": deploy,
        "deploy_id": deploy,
        "run_id": f"{deploy}-r",
        "command": "deploy",
        "assigned": assigned,
        "decision": None,
        "result": result,
        "cause": None if result in ("done", "unchanged") else "platform",
        "retries_used": 0,
        "hiccups_met": 0,
        "hiccups_mended": 0,
        "duration_s": 40.0,
        "machines": [],
    }
    for key, value in others.items():
        (assigned if key in assigned else report)[key] = value
    return report


def lines(reports: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(report).encode() + b"\n" for report in reports)


def write(path: Path, reports: Iterable[dict[str, Any]]) -> Path:
    path.write_bytes(lines(reports))
    return path


def records(reports: Iterable[dict[str, Any]]) -> list[Record]:
    return [msgspec.json.decode(json.dumps(report), type=Record) for report in reports]


def asked(bucket_by: str = "app", event: str = "not-done", now: float = LATER) -> Question:
    return Question(FLAG, bucket_by, DRAW, Event(event), now)


def ledger_of(
    reports: Iterable[dict[str, Any]], bucket_by: str = "app", now: float = LATER,
    guard: Guard | None = None,
) -> Ledger:  # fmt: skip
    question = asked(bucket_by, now=now)
    ledger = Ledger(question, guard or Guard())
    ledger.take(observe(records(reports), question))
    return ledger


def apps(inside: bool, percent: float, count: int) -> list[str]:
    """Names of apps that are inside at the percentage, or outside."""
    found = (f"app-{number}" for number in range(100_000))
    fitting = (app for app in found if (bucket(DRAW, app) < percent * 1000) == inside)
    return [next(fitting) for _ in range(count)]
