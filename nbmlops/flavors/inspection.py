"""What a skops file would build, read without building anything: the judge that runs before skops does.

skops audits names alone. Here a name is also judged by its role (``trusted.ROLES``), the archive by its form, so that a
file made by hand gets no further than a list of what it asked for.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from nbmlops.errors import Untrusted
from nbmlops.flavors import trusted

SCHEMA = "schema.json"
MEMBERS = 200_000
UNPACKED = 4 << 30
# Protocol 0 names functions in a field that the walk below does not read; no supported skops writes it.
PROTOCOLS = (1, 2)
_MEMBER = re.compile(r"[0-9a-f-]{1,40}\.(npy|npz|bin)")


def asked_types(data: bytes, named: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """The full names a skops file would build: (trusted ones, refused ones), both sorted.

    ``named`` holds the names the caller trusts in this call, whatever their role.

    Raises:
        Untrusted: the archive itself is not what skops writes.
    """
    extra = frozenset(named)
    fine: set[str] = set()
    refused: set[str] = set()
    for node in _nodes(_schema(data)):
        role, name = _text(node, "__loader__"), f"{_text(node, '__module__')}.{_text(node, '__class__')}"
        if role == "MethodNode":
            fine.add(name)  # the object itself is a node of its own, and is judged there
            name = f"{name}.{_method(node)}"
        allowed = name in extra or name in trusted.ROLES.get(role, frozenset())
        (fine if allowed else refused).add(name)
    return sorted(fine - refused), sorted(refused)


def _schema(data: bytes) -> Any:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_archive(archive)
            schema = json.loads(archive.read(SCHEMA))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, NotImplementedError, EOFError, OSError) as error:
        raise _malformed(f"it cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(schema, dict) or schema.get("protocol") not in PROTOCOLS or isinstance(schema["protocol"], bool):
        found = schema.get("protocol") if isinstance(schema, dict) else None
        raise _malformed(f"its protocol is {found!r}, and {' or '.join(map(str, PROTOCOLS))} is understood")
    return schema


def _check_archive(archive: zipfile.ZipFile) -> None:
    """Stored as skops does it: members uncompressed, so that nothing grows when it is read."""
    members = archive.infolist()
    if len(members) > MEMBERS:
        raise _malformed(f"it has {len(members):,} members, and {MEMBERS:,} are allowed")
    names = [m.filename for m in members]
    if len(set(names)) != len(names):
        raise _malformed("two of its members have the same name")
    size = 0
    for member in members:
        if member.filename != SCHEMA and not _MEMBER.fullmatch(member.filename):
            raise _malformed(f"it has a member named {member.filename[:80]!r}")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise _malformed(f"its member {member.filename} is compressed")
        size += member.file_size
        if member.filename.endswith(".npz"):  # sparse matrices: an archive within, compressed by SciPy
            with archive.open(member) as file, zipfile.ZipFile(file) as inner:
                size += sum(m.file_size for m in inner.infolist())
    if size > UNPACKED:
        raise _malformed(f"it unpacks to {size:,} bytes, and {UNPACKED:,} are allowed")


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every node, wherever it hides: a walk without recursion, over all values."""
    todo = [schema]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            if "__loader__" in item:
                yield item
            todo.extend(v for v in item.values() if isinstance(v, dict | list))
        else:
            todo.extend(v for v in item if isinstance(v, dict | list))


def _text(node: dict[str, Any], key: str) -> str:
    value = node.get(key)
    if not isinstance(value, str):
        raise _malformed(f"a node has {value!r:.60} as its {key.strip('_')}")
    return value


def _method(node: dict[str, Any]) -> str:
    content = node.get("content")
    return _text(content, "func") if isinstance(content, dict) else "?"


def _malformed(why: str) -> Untrusted:
    return Untrusted(
        f"the model file is not one that skops wrote: {why}", "register the model again from the object itself"
    )
