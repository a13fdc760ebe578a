"""Reports in Parquet files: DuckDB does the counting. Needs the extra tidegate[parquet]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rollout.errors import SourceProblem
from rollout.outcomes import sql
from rollout.outcomes.question import Question

_MEMORY = "400MB"
_BATCH = 10_000


def rows(files: Sequence[str], question: Question) -> Iterator[Sequence[Any]]:
    """The rows of the SELECT over these files; raises SourceProblem."""
    try:
        import duckdb
    except ImportError:
        raise SourceProblem(
            f"{files[0]} is Parquet, and DuckDB is not installed",
            hint="pip install 'tidegate[parquet]'",
        ) from None
    named = ", ".join("'" + name.replace("'", "''") + "'" for name in files)
    table = f"read_parquet([{named}], union_by_name = true)"
    with duckdb.connect(config={"memory_limit": _MEMORY, "preserve_insertion_order": False}) as db:
        try:
            found = db.execute(sql.select("duckdb", table, question))
            while batch := found.fetchmany(_BATCH):
                yield from batch
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            raise SourceProblem(
                f"{files[0]} cannot be read as reports of version 2: {first}",
                hint="the columns are the report's fields: docs/outcomes.md",
            ) from None
