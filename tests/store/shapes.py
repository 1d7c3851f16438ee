"""What the schema of an SQLite database says."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def shape(path: Path) -> dict[str, list[str]]:
    """Tables and indexes by name. How constraints are laid out differs between databases made in one go and migrated
    ones; what they say must not."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    return {
        name: sorted("".join((sql or "").replace("(", ",").replace(")", ",").lower().split()).split(","))
        for name, sql in rows
    }
