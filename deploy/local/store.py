"""State that outlives the platform's process: one SQLite file in a directory.

What is kept is committed before the request that changed it is answered, so that
a crash at any moment loses nothing that was answered. Where the file cannot be
written, `failure` says why until it can again, and what was not kept is tried
again with the next change. Knows nothing of how machines come up.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from deploy.errors import UsageProblem
from deploy.local.config import Config, convert
from deploy.local.state import (
    EVENTS_KEPT,
    VERSIONS_KEPT,
    App,
    Event,
    HeldLease,
    Machine,
    Version,
    Volume,
)

FILE_NAME = "platform.sqlite3"
_FORMAT = 1
_TABLES = (
    "CREATE TABLE apps (name TEXT PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE TABLE machines (id TEXT PRIMARY KEY, app TEXT NOT NULL, data BLOB NOT NULL)",
    "CREATE TABLE versions (id TEXT PRIMARY KEY, machine TEXT NOT NULL, sent BLOB, kept BLOB)",
    "CREATE INDEX machines_of ON machines (app)",
    "CREATE INDEX versions_of ON versions (machine)",
)


class Store(Protocol):
    """Where a platform keeps its state."""

    failure: str
    """Why something is not kept; "" while everything is."""

    def load(self) -> Iterable[App]:
        """The apps that were kept, with their machines."""

    def keep_app(self, app: App) -> None:
        """The app's own record: its machines are kept one by one."""

    def keep(self, machine: Machine) -> None:
        """A machine as it is now."""

    def forget(self, machines: Iterable[str]) -> None:
        """Machines that are not to be remembered any more, by id."""

    def forget_app(self, app: App) -> None:
        """The app and all its machines."""


class InMemory:
    """Keeps nothing: the state is in memory only."""

    failure = ""

    def load(self) -> Iterable[App]:
        return ()

    def keep_app(self, app: App) -> None:
        """See the class."""

    def keep(self, machine: Machine) -> None:
        """See the class."""

    def forget(self, machines: Iterable[str]) -> None:
        """See the class."""

    forget_app = keep_app


class _KeptApp(msgspec.Struct):
    name: str
    organization: str
    created_at_s: float
    network: str
    volumes: list[Volume]


class _KeptMachine(msgspec.Struct):
    id: str
    app: str
    name: str
    region: str
    slot: str
    order: int
    created_at_s: float
    updated_at_s: float
    raw: dict[str, Any]
    state: str
    aim: str
    cordoned: bool
    events: list[Event]
    lease: HeldLease | None
    restarts: int


class SqliteStore:
    """Raises UsageProblem where the directory cannot be used, or is used by another platform."""

    def __init__(self, directory: Path) -> None:
        self.failure = ""
        self._unkept: dict[str, Machine] = {}
        self._unkept_apps: dict[str, App] = {}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._database = _open(directory / FILE_NAME)
        except (OSError, sqlite3.Error) as error:
            raise UsageProblem(
                f"cannot keep state in {directory}: {error}",
                hint="is another platform using it? choose another directory with --state",
            ) from None

    def close(self) -> None:
        self._database.close()

    def load(self) -> list[App]:
        rows = self._database.execute("SELECT data FROM apps ORDER BY name").fetchall()
        return [self._app(msgspec.json.decode(data, type=_KeptApp)) for (data,) in rows]

    def keep_app(self, app: App) -> None:
        self._unkept_apps[app.name] = app
        self._write_unkept()

    def keep(self, machine: Machine) -> None:
        self._unkept[machine.id] = machine
        self._write_unkept()

    def forget(self, machines: Iterable[str]) -> None:
        ids = [(machine,) for machine in machines]
        for (machine,) in ids:
            self._unkept.pop(machine, None)
        self._write(
            ("DELETE FROM machines WHERE id = ?", ids),
            ("DELETE FROM versions WHERE machine = ?", ids),
        )

    def forget_app(self, app: App) -> None:
        self._unkept_apps.pop(app.name, None)
        self.forget(app.machines)
        self._write(("DELETE FROM apps WHERE name = ?", [(app.name,)]))

    def _write_unkept(self) -> None:
        """All that is not kept yet, in one transaction; only the newest version can be new."""
        machines, apps = list(self._unkept.values()), list(self._unkept_apps.values())
        newest = [machine.versions[0] for machine in machines]
        is_kept = self._write(
            (
                "INSERT OR REPLACE INTO apps VALUES (?, ?)",
                [(app.name, _encoded(app, _KeptApp)) for app in apps],
            ),
            (
                "INSERT OR REPLACE INTO machines VALUES (?, ?, ?)",
                [(one.id, one.app, _encoded(one, _KeptMachine)) for one in machines],
            ),
            (
                "INSERT OR IGNORE INTO versions VALUES (?, ?, ?, ?)",
                [
                    (version.id, one.id, _json(version.sent), _json(version.kept))
                    for one, version in zip(machines, newest, strict=True)
                ],
            ),
        )
        if is_kept:
            self._unkept.clear()
            self._unkept_apps.clear()

    def _write(self, *statements: tuple[str, list[tuple[Any, ...]]]) -> bool:
        try:
            with self._database:
                for statement, rows in statements:
                    self._database.executemany(statement, rows)
        except sqlite3.Error as error:
            self.failure = str(error)
            return False
        self.failure = ""
        return True

    def _app(self, kept: _KeptApp) -> App:
        app = App(**msgspec.structs.asdict(kept))
        rows = self._database.execute("SELECT data FROM machines WHERE app = ?", (app.name,))
        for (data,) in rows.fetchall():
            machine = self._machine(msgspec.json.decode(data, type=_KeptMachine))
            app.machines[machine.id] = machine
        in_order = sorted(app.machines.values(), key=lambda machine: machine.order)
        app.machines = {machine.id: machine for machine in in_order}
        app.by_name = {machine.name: machine.id for machine in app.living}
        return app

    def _machine(self, kept: _KeptMachine) -> Machine:
        rows = self._database.execute(
            "SELECT id, sent, kept FROM versions WHERE machine = ? ORDER BY rowid DESC LIMIT ?",
            (kept.id, VERSIONS_KEPT),
        )
        versions = [
            Version(version, msgspec.json.decode(sent), msgspec.json.decode(as_kept))
            for version, sent, as_kept in rows
        ]
        fields = msgspec.structs.asdict(kept)
        fields["events"] = deque(kept.events, EVENTS_KEPT)
        fields["versions"] = deque(versions, VERSIONS_KEPT)
        return Machine(**fields, config=convert(kept.raw, Config, "config"))


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=0)
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if found not in (0, _FORMAT):
        raise sqlite3.DatabaseError(f"{path.name} is of another version of this program")
    database.execute("BEGIN EXCLUSIVE")
    if not found:
        for statement in (*_TABLES, f"PRAGMA user_version = {_FORMAT}"):
            database.execute(statement)
    database.commit()
    return database


def _encoded(record: App | Machine, kind: type[msgspec.Struct]) -> bytes:
    return _json(kind(**{key: getattr(record, key) for key in kind.__struct_fields__}))


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=list)  # of a deque
