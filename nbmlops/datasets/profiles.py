"""Profiles of stored frames: made from sketches of their chunks, which are kept and serve later versions too."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from nbmlops.errors import StoreReadOnly
from nbmlops.frames import arrow, sketches
from nbmlops.frames.chunks.layout import Piece
from nbmlops.frames.chunks.reader import WORKERS, Reader
from nbmlops.frames.sketches import stored as packs
from nbmlops.store import Store, schema

_VERSIONS = schema.dataset_versions
_LOOK_BACK = 3  # versions whose sketches are looked through for those of unchanged chunks

Sketches = dict[str, sketches.Sketch]


class Sketched:
    """The sketches of one version's columns, made where they are missing and kept.

    Args:
        store: where they are kept.
        row: the version's row.
        manifest: the version's manifest.
        reader: what reads its chunks.
    """

    def __init__(self, store: Store, row: Mapping[str, Any], manifest: Mapping[str, Any], reader: Reader) -> None:
        self._store, self._row, self._reader = store, row, reader
        self._categorical = arrow.Packed(reader.schema.empty_table(), dict(manifest["frame"])).categorical()

    def profile(self) -> dict[str, Any]:
        """The profile of all columns; what it took is kept with the version."""
        names = self._reader.schema.names
        made, kept = self._columns(names)
        found = {
            "rows": self._row["rows"],
            # Types that differ only in layout share digests, and so sketches.
            "columns": {
                n: {**sketches.to_profile(made[n]), "type": str(self._reader.schema.field(n).type)} for n in names
            },
            "sketches": kept,
        }
        with contextlib.suppress(StoreReadOnly):  # then it is made again when it is asked for again
            self._keep(found)
        return found

    def _keep(self, found: Mapping[str, Any]) -> None:
        text = json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        blob = self._store.blobs.put(text.encode())
        with self._store.write() as db:
            here = sa.and_(_VERSIONS.c.name == self._row["name"], _VERSIONS.c.version == self._row["version"])
            db.execute(sa.update(_VERSIONS).where(here, _VERSIONS.c.profile == "").values(profile=blob))

    def unmade(self, names: Sequence[str]) -> int:
        """How many values would have to be read for the sketches of these columns."""
        wanted = self._wanted(names)
        known, _ = self._known({k for keys in wanted.values() for k in keys})
        rows = [c.rows for c in self._reader.chunks]
        return sum(rows[i] for keys in wanted.values() for i, k in enumerate(keys) if k not in known)

    def columns(self, chunks: Mapping[str, Sequence[int]]) -> Sketches:
        """Sketches of some columns, of each over these chunks; none is kept."""
        wanted = {n: [self._name(n, self._reader.chunks[i].pieces[n]) for i in of] for n, of in chunks.items()}
        known, _ = self._known({k for keys in wanted.values() for k in keys})
        places = {k: (n, i) for n, of in chunks.items() for k, i in zip(wanted[n], of, strict=True) if k not in known}
        for key, (name, number) in places.items():
            column = self._reader.read(number, [name]).column(name)
            known[key] = sketches.sketch_column(column, name in self._categorical)
        none = {n: self._reader.schema.field(n).type for n, keys in wanted.items() if not keys}
        empty = {n: sketches.sketch_column(pa.array([], kind), n in self._categorical) for n, kind in none.items()}
        return {n: sketches.merge([known[k] for k in keys]) if keys else empty[n] for n, keys in wanted.items()}

    def _wanted(self, names: Sequence[str]) -> dict[str, list[str]]:
        return {n: [self._name(n, c.pieces[n]) for c in self._reader.chunks] for n in names}

    def _columns(self, names: Sequence[str]) -> tuple[Sketches, list[str]]:
        wanted = self._wanted(names)
        known, used = self._known({k for keys in wanted.values() for k in keys})
        fresh = self._make(wanted, known)
        if fresh:
            with contextlib.suppress(StoreReadOnly):
                used.append(self._store.blobs.put(packs.dump(fresh)))
            known |= fresh
        return {n: sketches.merge([known[k] for k in keys]) for n, keys in wanted.items()}, used

    def _name(self, field: str, piece: Piece) -> str:
        return sketches.name_of(piece.digest or f"{piece.file}/{piece.name}", field in self._categorical)

    def _known(self, wanted: set[str]) -> tuple[Sketches, list[str]]:
        """Sketches kept with this version or the ones before it, and the blobs they came from."""
        query = (
            sa.select(_VERSIONS.c.profile)
            .where(_VERSIONS.c.name == self._row["name"], _VERSIONS.c.profile != "", _VERSIONS.c.kind == "frame")
            .order_by(sa.func.abs(_VERSIONS.c.version - self._row["version"]))
            .limit(_LOOK_BACK)
        )
        with self._store.read() as db:
            profiles = list(db.execute(query).scalars())
        found: Sketches = {}
        used: list[str] = []
        for profile in profiles:
            for blob in json.loads(self._store.blobs.get(profile)).get("sketches", ()):
                if wanted <= found.keys():
                    return found, used
                if blob in used:
                    continue
                here = {k: s for k, s in packs.load(self._store.blobs.get(blob)).items() if k in wanted}
                if here.keys() - found.keys():
                    found |= here
                    used.append(blob)
        return found, used

    def _make(self, wanted: Mapping[str, Sequence[str]], known: Sketches) -> Sketches:
        """The sketches that are missing, a chunk at a time."""

        def chunk(number: int) -> Sketches:
            todo = [n for n, keys in wanted.items() if keys[number] not in known]
            if not todo:
                return {}
            table = self._reader.read(number, todo)
            return {wanted[n][number]: sketches.sketch_column(table.column(n), n in self._categorical) for n in todo}

        with ThreadPoolExecutor(WORKERS) as pool:
            return {k: s for made in pool.map(chunk, range(len(self._reader.chunks))) for k, s in made.items()}


AT_ONCE = 20_000_000  # values that a comparison reads for whole distributions: about a second


def moved(before: Sketched, after: Sketched, columns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How the distributions of columns moved from one version to another, see ``sketches.change``.

    Where that would take reading more than 20 million values, only the chunks that are not in both versions are
    looked at; ``distance`` is then scaled to all rows (exact if both versions have as many), and ``part`` is the share
    of rows the other figures are about.
    """
    sides = before, after
    readers = tuple(s._reader for s in sides)
    numbers = {n: (range(len(readers[0].chunks)), range(len(readers[1].chunks))) for n in columns}
    whole = sum(s.unmade(columns) for s in sides) <= AT_ONCE
    chosen: dict[str, tuple[Sequence[int], Sequence[int]]] = (
        dict(numbers) if whole else {n: _own(readers[0], readers[1], n) for n in columns}
    )
    old = before.columns({n: c[0] for n, c in chosen.items()})
    new = after.columns({n: c[1] for n, c in chosen.items()})
    found = {}
    for name in columns:
        change = sketches.change(old[name], new[name])
        if not whole:
            rows = [sum(r.chunks[i].rows for i in c) for r, c in zip(readers, chosen[name], strict=True)]
            share = max(rows) / max(1, *(r.layout.rows for r in readers))
            change["part"] = share
            if "distance" in change:
                change["distance"] *= share
        found[name] = change
    return found


def _own(before: Reader, after: Reader, field: str) -> tuple[list[int], list[int]]:
    """The chunks of each version whose values of a column are not in the other one."""
    old, new = ([c.pieces[field].digest for c in r.chunks] for r in (before, after))
    both = set(old) & set(new)
    return [i for i, d in enumerate(old) if d not in both], [i for i, d in enumerate(new) if d not in both]
