"""Verdicts in a SQLite file: any number of processes and threads may read and write it at the same time.

A file that is no such store is refused when it is opened, before anything costs time. One that fails later (a full
disk, a network drive that is gone) is set aside with a warning: it holds nothing that cannot be found out again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import warnings
import weakref
import zlib
from pathlib import Path
from typing import Any

from distill.errors import DistillError

APPLICATION_ID = 0x64697374  # 'dist'; by this number a SQLite file says whose it is
WAIT_SECONDS = 10.0  # for another process that writes
TABLE = (
    "CREATE TABLE IF NOT EXISTS verdicts"
    " (key BLOB PRIMARY KEY, equal INTEGER, reason TEXT NOT NULL, digest INTEGER NOT NULL) WITHOUT ROWID"
)

Said = tuple[bool | None, str]
"""Equal, or None where the engine could not tell; and the reason."""


class VerdictStore:
    """A file of what was said, by key; safe to share by threads, and opened anew in a forked process."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make one.

        Raises:
            DistillError: it is something else, is damaged, or cannot be written.
        """
        self.path = path
        self._renew()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connect()
        except (sqlite3.Error, OSError) as error:
            raise DistillError(
                f"'{path}' cannot be used as a cache of verdicts: {error}",
                hint="name another file with 'verifier.cache'; if this is a damaged cache, delete it, it is made anew",
            ) from None

    def _renew(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._is_set_aside = False

    def read(self, key: bytes) -> Said | None:
        """What is stored under this key, if it is whole: SQLite itself does not notice a flipped bit."""
        row = self._run("SELECT equal, reason, digest FROM verdicts WHERE key = ?", key)
        if row is None:
            return None
        said = (None if row[0] is None else bool(row[0]), row[1])
        return said if row[2] == _digest(key, said) else None

    def write(self, key: bytes, said: Said) -> None:
        """Store what was said."""
        self._run("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)", key, *said, _digest(key, said))

    def close(self) -> None:
        """Close the file; it opens again when it is needed."""
        with self._lock:
            if self._connection is not None and os.getpid() == self._owner:
                self._connection.close()
                self._connection = None

    def _run(self, statement: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row that a statement gives."""
        if os.getpid() != self._owner:
            self._inherited = self._connection  # its locks are the parent's: it is neither used nor closed here
            self._renew()
        with self._lock:
            if self._is_set_aside:
                return None
            try:
                connection = self._connection or self._connect()
                row: tuple[Any, ...] | None = connection.execute(statement, values).fetchone()
            except sqlite3.Error as error:
                self._is_set_aside = True
                warnings.warn(
                    f"the cache of verdicts '{self.path}' is set aside: {error}", RuntimeWarning, stacklevel=4
                )
                return None
            return row

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        weakref.finalize(self, _close, connection, os.getpid())
        self._connection = connection
        return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the table where there is none, in one step for all who open the file at once."""
    connection.execute("BEGIN IMMEDIATE")
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (num_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != APPLICATION_ID and num_tables:
        raise sqlite3.DatabaseError("it is another program's database")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(TABLE)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")  # who reads does not wait for who writes
    connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last verdicts, never the file


def _digest(key: bytes, said: Said) -> int:
    return zlib.crc32(repr((key, *said)).encode())


def _close(connection: sqlite3.Connection, owner: int) -> None:
    if os.getpid() == owner:
        connection.close()
