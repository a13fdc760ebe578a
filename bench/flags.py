"""The table of what deciding a flag costs: one decision, in bulk, as a process.

Every time is a median over at least 5 rounds, in which all contenders take turns, of
processor time. Compare the ratios; the nanoseconds are this machine's.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle
from pathlib import Path

import click

from bench import bulk, clients, ours, processes
from bench.peers import LEFT_OUT, PEERS, Contender
from bench.timing import ROUNDS, per_unit_ns, race, wall_ns

HEADING = """\
# What deciding a flag costs

Printed by `scripts/bench flags`. Every contender has the same
flag in its own format, runs offline, and goes from the text of a unit to its answer in
the quickest way its public interface has; a user or a context that it wants is made on
the way. The floor is bare `(mmh3.hash(unit, 0, False) * 100_000) >> 32`: a bucket, and
nothing decided with it. tidegate keeps the hash in the decision, and turns it into the
bucket when that is read: that has a row of its own, and the rows above it have not read
it. decide(unit) is prepared for one flag, which no peer offers; evaluate() looks the flag
up by its name, as they do. What goes through OpenFeature's client is a
block of its own, and what goes over HTTP is further down. Times are medians over at least 5
rounds, each over a fifth of the units, in which all take turns, in processor time.
Compare the ratios: the nanoseconds are one machine's.

The aims, without compiled code of our own: evaluate() at most 3.0 times the floor, reading the
bucket at most 3.2 times, and our provider at most 1,000 ns above OpenFeature's own.
"""

UNITS = 200_000
DIFFED = 10_000_000
_LEAST_SHARE, _MOST_SHARE = 4.5, 5.5


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench flags", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the units")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there as well")
    options = parser.parse_args(arguments)
    lines = []
    for line in table(10 if options.quick else 1):
        click.echo(line)
        lines.append(line)
    if options.out:
        options.out.write_text("\n".join([HEADING, *lines, ""]), "utf-8")


def table(smaller: int) -> Iterator[str]:
    """The lines of the table, in Markdown, as they become known."""
    units = [f"app-{number:06d}" for number in range(UNITS // smaller)]
    yield f"Python {platform.python_version()}, {_cpu()}."
    yield ""
    yield from decisions(units, [*ours.OURS, *PEERS], LEFT_OUT)
    yield ""
    with tempfile.TemporaryDirectory() as directory:
        yield from _in_bulk(units, Path(directory))
        yield ""
        yield from _through_openfeature(units[: len(units) // 10], Path(directory))
        yield ""
        yield from _as_a_process(Path(directory))
    yield ""
    yield from _in_memory(DIFFED // smaller)


def decisions(
    units: Sequence[str], makers: Sequence[Callable[[], Contender]], left_out: Mapping[str, str]
) -> Iterator[str]:
    """One decision for each of the units; the first of the makers is the floor.

    A round is a fifth of the units, so that all have had their turn after five. Who
    cannot be made, or does not have about 5 % of the units inside, is not timed, but
    named with the reason, as those in `left_out` are.
    """
    ours.check(units)
    reasons = dict(left_out)
    parts = [units[start::ROUNDS] for start in range(ROUNDS)]
    field = {one: _share(one, parts[0]) for one in _made(makers, reasons)}
    for one, share in field.items():
        if not _LEAST_SHARE <= share <= _MOST_SHARE:
            reasons[one.name] = f"has {share:.2f} % of the units inside, and not 5 %"
    fair = [one for one in field if one.name not in reasons]

    yield f"One decision on a 5 % flag, over {len(units):,} distinct units:"
    yield ""
    yield "| | version | gives | inside | ns | of the floor |"
    yield "|---|---|---|--:|--:|--:|"
    took = per_unit_ns(race({one: _in_parts(one, parts) for one in fair}, _tell), parts[0])
    floor = took[fair[0]]
    for one, ns in sorted(took.items(), key=lambda pair: pair[1]):
        inside, times = f"{field[one]:.2f} %", f"{ns / floor:.2f}"
        yield _row(one.name, _version(one), one.answer, inside, f"{ns:,.0f}", times)
    for name, reason in reasons.items():
        yield _row(name, "", f"left out: {reason}", "", "", "")


def _in_bulk(units: Sequence[str], directory: Path) -> Iterator[str]:
    yield f"In bulk, for each of {len(units):,} units:"
    yield ""
    yield "| | ns | of the floor |"
    yield "|---|--:|--:|"
    floor = ours.floor()
    runs: dict[str, Callable[[], object]] = {floor.name: partial(floor.run, units)}
    runs |= bulk.contenders(units, directory)
    took = per_unit_ns(race(runs, _tell), units)
    for name, ns in took.items():
        yield _row(name, f"{ns:,.0f}", f"{ns / took[floor.name]:.2f}")


def _through_openfeature(units: Sequence[str], directory: Path) -> Iterator[str]:
    yield f"Through OpenFeature's client, for each of {len(units):,} units:"
    yield ""
    yield "| provider | ns | above OpenFeature's own |"
    yield "|---|--:|--:|"
    with clients.contenders(units, directory) as runs:
        took = per_unit_ns(race(runs, _tell), units)
    for name, ns in took.items():
        yield _row(name, f"{ns:,.0f}", f"{ns - took[clients.IN_MEMORY]:+,.0f}")


def _as_a_process(directory: Path) -> Iterator[str]:
    took = race(processes.contenders(directory), _tell, wall_ns)
    explain, imports = took[processes.EXPLAIN], took[processes.IMPORTS]
    yield (
        f"`{processes.EXPLAIN}` as a process: {explain * 1000:.0f} ms, {explain / imports:.2f} "
        f"times the {imports * 1000:.0f} ms of `{processes.IMPORTS}`."
    )


def _in_memory(count: int) -> Iterator[str]:
    peak = bulk.diff_peak(count)
    yield (
        f"`rollout diff` over {count:,} units: {peak.memory_mb:.0f} MB at the peak, "
        f"{peak.seconds:.1f} s."
    )


def _made(
    makers: Sequence[Callable[[], Contender]], reasons: dict[str, str]
) -> Iterator[Contender]:
    for make in makers:
        try:
            yield make()
        except ImportError as error:
            reasons[make.__name__] = f"cannot be imported: {error}"
        except Exception as error:  # a peer may fail in any way
            reasons[make.__name__] = f"cannot run offline: {type(error).__name__}: {error}"


def _in_parts(one: Contender, parts: Sequence[Sequence[str]]) -> Callable[[], None]:
    turns = cycle(parts)
    return lambda: one.run(next(turns))


def _share(one: Contender, units: Sequence[str]) -> float:
    return sum(map(one.is_inside, units)) * 100 / len(units)


def _version(one: Contender) -> str:
    try:
        return f"{one.package} {version(one.package)}"
    except PackageNotFoundError:
        return one.package


def _cpu() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2] for line in info.read_text().splitlines()]
        labels = [line.partition(":")[0].strip() for line in info.read_text().splitlines()]
        model = dict(zip(labels, names, strict=True)).get("model name", model).strip()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _tell(number: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\rround {number} \r", err=True, nl=False)
