"""No row holds the value of a secret: every statement passes here before the driver gets it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from nbmlops import secrets


def mask_parameters(
    _connection: sa.Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _executemany: bool
) -> tuple[str, Any]:
    """The event ``before_cursor_execute``: no statement carries a secret's value, be it to write or to look for it."""
    return statement, _masked(parameters) if secrets.is_active() else parameters


def _masked(value: Any) -> Any:
    """Texts and bytes; numbers stay, for a column's type may need them."""
    if isinstance(value, str):
        return secrets.scrub_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return secrets.scrub_bytes(value)
    if isinstance(value, dict):
        return {name: _masked(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_masked, value))
    if hasattr(value, "obj") and type(value).__module__.startswith("psycopg."):  # JSON that psycopg will write
        return type(value)(secrets.scrub(value.obj), dumps=value.dumps)
    return value
