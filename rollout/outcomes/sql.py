"""The one SELECT that does the counting where the records are in a database. Pure text.

It expects a table with a column for each field of the report, version 2, and `assigned` as
a struct (in PostgreSQL as jsonb). It gives one row per failure, unit and percentage, and
one per reason why records were left out: what rows.py reads. Deploys are told apart by
their ids only among failures, so that ten million need no more memory than a thousand:
load every file once. What is asked of all records is summed once, as finely as any part
needs it, since each look at them costs seconds.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from rollout.flag.guard import Event
from rollout.outcomes.observed import EARLIEST
from rollout.outcomes.question import Question
from rollout.outcomes.record import CAUSES, LONGEST_S, RUNNING_S

COLUMNS: Final = (
    "kind", "unit", "bucket", "deploy", "percent", "inside", "known", "deploys", "events", "cause",
    "last", "retries", "mended", "millis",
)  # fmt: skip


class _Engine(NamedTuple):
    """How an engine writes a field of `assigned` and the column `at`, and names its types."""

    field: str
    at: str
    text: str
    real: str
    whole: str
    inline: str = "AS"
    """Where an engine would keep every record of a part in memory, it is told not to."""


_ENGINES: Final = {
    "duckdb": _Engine(
        "assigned.{name}", '"at"', "VARCHAR", "DOUBLE", "BIGINT", "AS NOT MATERIALIZED"
    ),  # or it would keep all records in memory
    "clickhouse": _Engine(
        "assigned.{name}", '"at"', "Nullable(String)", "Nullable(Float64)", "Nullable(Int64)"
    ),
    "postgresql": _Engine("assigned ->> '{name}'", '"at"', "text", "double precision", "bigint"),
    "bigquery": _Engine("assigned.{name}", "`at`", "STRING", "FLOAT64", "INT64"),
}
ENGINES: Final = tuple(_ENGINES)


def select(engine: str, table: str, question: Question) -> str:
    """The SELECT for one of `ENGINES`; `table` stands in it as it is."""
    dialect = _ENGINES[engine]
    parts, keys = [_percentages(dialect), _FAILURES, _CAUSES_SEEN], "percent, inside, why"
    if question.bucket_by != "deploy":
        parts.append(_UNITS)
        keys += ", unit, bucket"
    parts.append(_LEFT)
    # All that is put in are names and numbers of ours, or the table, which the user gives.
    common = _COMMON.format(
        table=table,
        inline=dialect.inline,
        at=dialect.at,
        flag=dialect.field.format(name="flag"),
        unit=dialect.field.format(name="unit"),
        variant=dialect.field.format(name="variant"),
        reason=dialect.field.format(name="reason"),
        bucket=_cast(dialect.field.format(name="bucket"), dialect.whole),
        percent=_cast(dialect.field.format(name="percent"), dialect.real),
        running=RUNNING_S,
        earliest=EARLIEST,
        longest=f"{LONGEST_S:.0f}",
        name=question.flag,
        now=f"{question.now:.3f}",
        other_unit=_other_unit(question.bucket_by),
        event=_event(question.event),
        causes=", ".join(f"'{cause}'" for cause in CAUSES),
        keys=keys,
    )
    return common + "UNION ALL\n".join(parts)


def _cast(what: str, kind: str) -> str:
    return f"CAST({what} AS {kind})"


def _other_unit(bucket_by: str) -> str:
    return f"unit <> {bucket_by}" if bucket_by in ("app", "deploy") else "1 = 0"


def _event(event: Event) -> str:
    return {
        "not-done": "why IS NOT NULL",
        "platform": "why IN ('platform', 'outage', 'unknown')",
        "in-between": "result = 'in-between'",
        "slower": f"duration_s > {event.seconds:.3f}",
    }[event.name]


def _percentages(dialect: _Engine) -> str:
    """Also says what type every column has, which some engines take from the first part."""
    return f"""\
SELECT 'percentage' AS kind, {_cast("NULL", dialect.text)} AS unit,
  {_cast("NULL", dialect.whole)} AS bucket, {_cast("NULL", dialect.text)} AS deploy,
  percent, inside, MIN(first_known) AS known, SUM(runs) AS deploys, SUM(fails) AS events,
  {_cast("NULL", dialect.text)} AS cause, MAX(last_known) AS last, SUM(retries_used) AS retries,
  SUM(hiccups_mended) AS mended, SUM(ms) AS millis
FROM summed GROUP BY percent, inside
"""  # noqa: S608 -- only types are put in


_COMMON: Final = """\
WITH report {inline} (
  SELECT v, {at} AS ended_at, app, deploy, run_id, command, result, cause, duration_s, retries_used,
    hiccups_mended, {flag} AS flag, {unit} AS unit, {variant} AS variant, {reason} AS reason,
    {bucket} AS bucket, {percent} AS percent,
    {at} + CASE WHEN result IS NULL THEN {running} ELSE 0 END AS known
  FROM {table} WHERE event = 'report'
), ended {inline} (
  SELECT run_id FROM report WHERE result IS NOT NULL
    AND run_id IN (SELECT run_id FROM report WHERE result IS NULL)
), judged {inline} (
  SELECT report.*, CASE
    WHEN v IS NULL OR v <> 2 THEN 'version'
    WHEN flag IS NULL THEN 'unassigned'
    WHEN flag <> '{name}' THEN 'flag'
    WHEN ended_at IS NULL OR known < {earliest} THEN 'undated'
    WHEN ended_at > {now} THEN 'later'
    WHEN result IS NULL AND run_id IN (SELECT run_id FROM ended) THEN 'repeated'
    WHEN known > {now} THEN 'running'
    WHEN command IN ('resume', 'rollback') THEN 'continued'
    WHEN result = 'leased' OR cause = 'leased' THEN 'leased'
    WHEN reason = 'STATIC' THEN 'static'
    WHEN reason IS NULL OR reason <> 'SPLIT' OR unit IS NULL OR unit = '' THEN 'not-drawn'
    WHEN percent IS NULL OR percent < 0 OR percent > 100
      OR ABS(percent * 1000 - ROUND(percent * 1000)) >= 0.000001 THEN 'percent'
    WHEN duration_s < 0 OR duration_s > {longest} THEN 'duration'
    WHEN {other_unit} THEN 'other-unit'
    WHEN bucket IS NULL THEN 'other-draw'
    WHEN variant <> '' AND variant
      <> (CASE WHEN bucket < ROUND(percent * 1000) THEN 'inside' ELSE 'outside' END)
      THEN 'contradiction'
    WHEN deploy IS NULL OR deploy = '' THEN 'unnamed'
    END AS left_out,
    CASE
    WHEN result IN ('done', 'unchanged') THEN NULL
    WHEN cause IN ({causes}) THEN cause
    WHEN result = 'outage' THEN 'outage'
    WHEN result = 'refused' THEN 'rejected'
    WHEN result = 'interrupted' THEN 'interrupted'
    ELSE 'unknown' END AS why
  FROM report
), drawn {inline} (
  SELECT unit, bucket, deploy, run_id, percent, known, why, retries_used, hiccups_mended,
    duration_s, CASE WHEN bucket < ROUND(percent * 1000) THEN 1 ELSE 0 END AS inside,
    CASE WHEN {event} THEN 1 ELSE 0 END AS counted
  FROM judged WHERE left_out IS NULL
), failure {inline} (
  SELECT unit, bucket, deploy, percent, inside, known, counted, why,
    ROW_NUMBER() OVER (PARTITION BY deploy ORDER BY known, run_id) AS number
  FROM drawn WHERE counted = 1 OR why = 'app'
), summed AS (
  SELECT {keys}, MIN(deploy) AS first_deploy, MIN(known) AS first_known, MAX(known) AS last_known,
    COUNT(*) AS runs, SUM(counted) AS fails, SUM(retries_used) AS retries_used,
    SUM(hiccups_mended) AS hiccups_mended, SUM(ROUND(duration_s * 1000)) AS ms
  FROM drawn GROUP BY {keys}
)
"""

_FAILURES: Final = """\
SELECT 'failure', unit, bucket, deploy, percent, inside, known, 1, counted, why,
  NULL, NULL, NULL, NULL
FROM failure WHERE number = 1
"""
_CAUSES_SEEN: Final = """\
SELECT 'cause', NULL, NULL, NULL, percent, inside, NULL, SUM(runs), NULL, why,
  NULL, NULL, NULL, NULL
FROM summed WHERE why IS NOT NULL GROUP BY percent, inside, why
"""
_UNITS: Final = """\
SELECT 'unit', unit, bucket, MIN(first_deploy), percent, inside, MIN(first_known), SUM(runs),
  SUM(fails), NULL, NULL, NULL, NULL, NULL
FROM summed GROUP BY unit, bucket, percent, inside
"""
_LEFT: Final = """\
SELECT 'left', NULL, NULL, NULL, NULL, NULL, NULL, COUNT(*), NULL, left_out,
  NULL, NULL, NULL, NULL
FROM judged WHERE left_out IS NOT NULL GROUP BY left_out
"""
