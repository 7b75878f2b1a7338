"""Backups of the embedded database, made while it is in use, and their return into an empty DATA_DIR.

    PATH/bridge.sqlite3   the database, by SQLite's online backup: one moment of it, whole
    PATH/journal/         what the journal held just before: requests that were not final in the database yet
    PATH/secrets/         only if asked for: with these, a backup is as precious as the site itself

The journal is copied first: a request is in it until it is in the database, so that none is in neither. What is in both
is stored once, as ever.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

DATABASE = "bridge.sqlite3"


def backup(data_dir: Path, path: Path, with_secrets: bool = False) -> None:
    """Makes the folder `path`, which only its owner can read. Raises OSError and sqlite3.Error."""
    path.mkdir(mode=0o700, parents=True)
    _copy(data_dir / "journal", path / "journal", "*.open")
    with (
        contextlib.closing(sqlite3.connect(f"file:{data_dir / DATABASE}?mode=ro", uri=True, timeout=30)) as source,
        contextlib.closing(sqlite3.connect(path / DATABASE)) as target,
    ):
        source.backup(target)  # in one go: writers wait for nobody in WAL mode, and the copy is of one moment
        target.execute("PRAGMA journal_mode=DELETE")  # one file, without its log
    (path / DATABASE).chmod(0o600)
    if with_secrets:
        _copy(data_dir / "secrets", path / "secrets", "*")


def restore(path: Path, data_dir: Path) -> None:
    """Puts a backup where a site is to start from. Raises FileExistsError if there is one already, and OSError."""
    if (data_dir / DATABASE).exists():
        raise FileExistsError(f"{data_dir} has a database already")
    with contextlib.closing(sqlite3.connect(f"file:{path / DATABASE}?mode=ro", uri=True)) as source:
        if source.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise OSError(f"{path / DATABASE} is damaged")
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in sorted((path / "secrets").glob("*")):  # reading the settings made new ones: these are the site's
        (data_dir / "secrets" / file.name).unlink(missing_ok=True)
    _copy(path / "secrets", data_dir / "secrets", "*")
    _copy(path / "journal", data_dir / "journal", "*.open")
    _copy_file(path / DATABASE, data_dir / DATABASE)


def _copy(source: Path, target: Path, pattern: str) -> None:
    for file in sorted(source.glob(pattern)):
        target.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # a segment whose rows have all just been stored
            _copy_file(file, target / file.name)


def _copy_file(source: Path, target: Path) -> None:
    with (
        source.open("rb") as reading,
        os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writing,
    ):
        shutil.copyfileobj(reading, writing)
        writing.flush()
        os.fsync(writing.fileno())
