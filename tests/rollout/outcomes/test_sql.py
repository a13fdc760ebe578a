"""The SELECT counts as reading does: on DuckDB, and on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rollout.flag.guard import Guard
from rollout.outcomes import rows, sql, state
from rollout.outcomes.ledger import Ledger
from rollout.outcomes.observed import Observed, observe
from rollout.outcomes.question import Question
from rollout.sources import coins, parquet
from tests.rollout.commands.running import run
from tests.rollout.outcomes.making import DAY, FLAG, START, asked, made, records, write

PERCENTS = (5.0, 10.0, 0.125, 50.0)
CAUSES = ("app", "platform", "unknown", None, "odd")
RESULTS = ("done", "done", "done", "failed", "in-between", "unchanged", "outage", "interrupted")


def story(by: str = "app") -> list[dict[str, Any]]:
    rng = random.Random(2)
    told = []
    for n in range(400):
        app, percent, result = f"app-{rng.randrange(30)}", rng.choice(PERCENTS), rng.choice(RESULTS)
        told.append(
            made(
                n, app, percent, result, at=START + n * 3600, by=by, cause=rng.choice(CAUSES),
                duration_s=round(rng.random() * 100, 3), retries_used=n % 3, hiccups_mended=n % 2,
            )
        )  # fmt: skip
    odd: list[dict[str, Any]] = [
        {"v": 3}, {"flag": "other"}, {"reason": "TARGETING_MATCH"}, {"percent": None},
        {"variant": "sideways"}, {"variant": "", "result": "failed"}, {"reason": "STATIC"},
        {"percent": 5.0001, "result": "failed"},
        {"cause": "leased", "result": "failed"}, {"bucket": 3, "result": "in-between"},
        {"command": "resume"}, {"result": "leased"},
        {"unit": "x"}, {"at": START + 5000 * DAY}, {"result": None}, {"assigned": None},
        {"result": None, "at": START + 999.9 * DAY}, {"at": 0.0},
        {"at": -1e300, "result": "failed"}, {"deploy": "", "deploy_id": "", "run_id": ""},
    ]  # fmt: skip
    told += [made(1000 + n, by=by, **each) for n, each in enumerate(odd)]
    start, end = made(1100, result=None, by=by), made(1100, at=START + DAY, by=by)
    twice = made(1101, result="failed", by=by)
    killed = made(1102, "app-3", result=None, by=by)
    resumed = made(1102, "app-3", at=START + DAY, by=by, command="resume", run_id="again")
    return [*told, start, end, twice, twice, killed, resumed]


def dumped(question: Question, found: Observed) -> dict[str, Any]:
    ledger = Ledger(question, Guard())
    ledger.take(found)
    told: dict[str, Any] = json.loads(state.dump(ledger))
    return told


def compare(question: Question, by_rows: Observed, reports: list[dict[str, Any]]) -> None:
    by_reading = observe(records(reports), question)
    one, other = dumped(question, by_rows), dumped(question, by_reading)
    for name in ("tests", "coins", "days", "known", "bounds"):
        assert one[name] == other[name], name
    # A deploy that is there twice is told only where it failed.
    if question.bucket_by == "app":
        assert {u: v["threshold"] for u, v in one["units"].items()} == {
            u: v["threshold"] for u, v in other["units"].items()
        }
    assert _left(by_rows) == _left(by_reading)


def _left(found: Observed) -> dict[str, int]:
    """A database cannot hash: of a deploy that was done, another draw is a contradiction to it."""
    left: dict[str, int] = {}
    for reason, number in found.left.items():
        name = "contradiction" if reason == "other-draw" else str(reason)
        left[name] = left.get(name, 0) + number
    left.pop("repeated", None)
    return left


@pytest.mark.parametrize("by", ["app", "deploy"])
@pytest.mark.parametrize("event", ["not-done", "platform", "in-between"])
def test_parquet_through_duckdb_counts_as_reading_does(tmp_path: Path, by: str, event: str) -> None:
    source, target = write(tmp_path / "r.jsonl", story(by)), tmp_path / "r.parquet"
    duckdb.sql(f"COPY (FROM read_json('{source}')) TO '{target}' (FORMAT parquet)")
    question = asked(by, event)
    found = rows.observed(parquet.rows([str(target)], question), question, "r.parquet")
    compare(question, found, story(by))


def test_the_cohorts_are_those_of_reading(tmp_path: Path) -> None:
    told = story()[:400]
    source, target = write(tmp_path / "r.jsonl", told), tmp_path / "r.parquet"
    duckdb.sql(f"COPY (FROM read_json('{source}')) TO '{target}' (FORMAT parquet)")
    question = asked()
    found = rows.observed(parquet.rows([str(target)], question), question, "r.parquet")
    other = observe(records(told), question)
    assert found.cells == other.cells
    assert found.units == other.units


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"duration_s": 1e300}, "duration"),
        ({"duration_s": -1.0}, "duration"),
        ({"reason": None}, "not-drawn"),
        ({"v": None}, "version"),
    ],
)
def test_what_json_could_not_even_say_is_left_out(
    tmp_path: Path, odd: dict[str, Any], reason: str
) -> None:
    told = [made(1, result="failed"), made(2, result="failed") | odd]
    if "reason" in odd:
        told[1]["assigned"] |= odd
    source, target = write(tmp_path / "r.jsonl", told), tmp_path / "r.parquet"
    duckdb.sql(f"COPY (FROM read_json('{source}')) TO '{target}' (FORMAT parquet)")
    question = asked()
    found = rows.observed(parquet.rows([str(target)], question), question, "r.parquet")
    assert [failure.key for failure in found.failures] == ["d00000001"]
    assert found.left == {reason: 1}


def test_parquet_without_the_columns_of_a_report_is_an_error(tmp_path: Path) -> None:
    from rollout.errors import SourceProblem

    target = tmp_path / "odd.parquet"
    duckdb.sql(f"COPY (SELECT 1 AS v, 'report' AS event) TO '{target}' (FORMAT parquet)")
    with pytest.raises(SourceProblem, match="cannot be read as reports of version 2: "):
        list(parquet.rows([str(target)], asked()))


@pytest.mark.parametrize("form", ["csv", "json"])
def test_rows_that_were_selected_elsewhere_are_read(tmp_path: Path, form: str) -> None:
    source = write(tmp_path / "r.jsonl", story())
    target = tmp_path / f"coins.{form}"
    text = sql.select("duckdb", f"read_json('{source}')", asked())
    options = "FORMAT csv, HEADER" if form == "csv" else "FORMAT json"
    duckdb.sql(f"COPY ({text}) TO '{target}' ({options})")
    compare(asked(), rows.observed(coins.rows(str(target)), asked(), "coins"), story())


def row(**cells: object) -> str:
    """A file of one row."""
    heads = ",".join(sql.COLUMNS)
    return f"{heads}\n{','.join(str(cells.get(name, '')) for name in sql.COLUMNS)}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (row(kind="odd"), "row 1 is not a row of the SELECT: it has no percentage"),
        (
            row(kind="odd", percent=5, inside=1),
            "row 1 is not a row of the SELECT: odd is not",
        ),
        (
            row(kind="failure", percent=5, inside=1, known="noon"),
            "row 1 is not a row of the SELECT: Expected",
        ),
        (row(kind="left", cause="boredom"), "row 1 is not a row of the SELECT: boredom is"),
        ('{"kind": "left"\n', "a line is not an object of JSON"),
        ('{"kind": "left", "cause": "flag", "deploys": 1}\n[1]\n', "a line is not an object"),
        ("", "has no column kind"),
        ("psql: error: no such table\n", "has no column kind"),
        ("kind,unit,bucket\n", "has no column deploy"),
    ],
)
def test_rows_that_are_none_are_an_error(tmp_path: Path, text: str, said: str) -> None:
    from rollout.errors import InvalidValue

    path = tmp_path / "coins.csv"
    path.write_text(text)
    with pytest.raises(InvalidValue, match=said):
        rows.observed(coins.rows(str(path)), asked(), "coins.csv")


@pytest.mark.parametrize("engine", sql.ENGINES)
@pytest.mark.parametrize("by", ["app", "deploy", "org"])
def test_there_is_a_select_for_every_engine(tmp_path: Path, engine: str, by: str) -> None:
    flags = tmp_path / "flags.yaml"
    flags.write_text(
        f"version: 1\nflags:\n  {FLAG}: {{bucket_by: {by}, percent: 5, inside: 5, outside: 0}}\n"
    )
    told = run("outcomes", FLAG, "--sql", engine, "--table", "ops.reports", "--file", str(flags))
    assert told.exit_code == 0
    assert told.output.startswith("WITH report AS ")
    assert "FROM ops.reports WHERE" in told.output
    assert told.output.count("UNION ALL") == (3 if by == "deploy" else 4)


# -- PostgreSQL ------------------------------------------------------------------------


def _binaries() -> Path | None:
    """Where initdb and postgres are; Debian keeps them out of the way."""
    for name in ("initdb", *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
        if found := shutil.which(name):
            return Path(found).resolve().parent
    return None


@pytest.fixture
def psql() -> Iterator[Any]:
    """A server of this test's own, on a socket in its directory, as a user that is not root."""
    binaries, client = _binaries(), shutil.which("psql")
    if binaries is None or client is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user: dict[str, Any] = {}
    place = Path("/tmp") / f"tidegate-pg-{os.getpid()}"  # noqa: S108 -- a socket's path is short
    place.mkdir(mode=0o700)
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(place, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    clean = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(place)}
    told: dict[str, Any] = {"cwd": place, "env": clean, "capture_output": True, **user}
    data = str(place / "data")
    options = f"-c listen_addresses= -c unix_socket_directories={place} -c fsync=off"
    start = ["pg_ctl", "-D", data, "-w", "-l", str(place / "log"), "-o", options, "start"]
    try:
        for command in (["initdb", "-D", data, "-A", "trust", "-U", "postgres"], start):
            subprocess.run([str(binaries / command[0]), *command[1:]], check=True, **told)

        def ask(text: str) -> str:
            command = [client, "-X", "-q", "-h", str(place), "-U", "postgres", "--csv"]
            command += ["-v", "ON_ERROR_STOP=1"]
            done = subprocess.run(command, input=text.encode(), check=False, **told)
            assert done.returncode == 0, done.stderr.decode()
            return str(done.stdout.decode())

        yield ask
    finally:
        stop = [str(binaries / "pg_ctl"), "-D", data, "-m", "immediate", "stop"]
        subprocess.run(stop, check=False, **told)
        shutil.rmtree(place, ignore_errors=True)


def test_postgresql_counts_as_reading_does(psql: Any, tmp_path: Path) -> None:
    columns = (
        "v int, at double precision, event text, app text, deploy text, run_id text, command text, "
        "result text, cause text, duration_s double precision, retries_used int, "
        "hiccups_mended int, assigned jsonb"
    )
    psql(f"CREATE TABLE reports ({columns});")
    told = json.dumps(story()).replace("'", "''")
    psql(f"INSERT INTO reports SELECT * FROM jsonb_to_recordset('{told}') AS r ({columns});")  # noqa: S608 -- ours
    for event in ("not-done", "platform"):
        question = asked(event=event)
        path = tmp_path / "coins.csv"
        path.write_text(psql(sql.select("postgresql", "reports", question) + ";"))
        compare(question, rows.observed(coins.rows(str(path)), question, "coins"), story())
