"""The files that are kept with a run."""

from __future__ import annotations

import mimetypes
import os
import posixpath
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbmlops import clock, secrets
from nbmlops.context import ContextSource
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.records import Artifact
from nbmlops.store import Store, schema


class Artifacts:
    """The part of the runs desk about files."""

    store: Store
    context: ContextSource

    if TYPE_CHECKING:

        def _row(self, ref: str) -> Any: ...

    def put_artifact(
        self, run_id: str, path: str, data: bytes | os.PathLike[str], media_type: str | None = None
    ) -> Artifact:
        """Keep bytes, or the content of a file, with a run; the same path again replaces what it names.

        Raises:
            InvalidValue: the path is absolute, empty, or climbs out with ``..``.
        """
        path = check_artifact_path(path)
        row = self._row(run_id)
        digest = self.store.blobs.put(data)
        kind = media_type or mimetypes.guess_type(path)[0] or "application/octet-stream"
        exact = isinstance(data, bytes) and not secrets.is_active()  # what is masked has another size
        size = len(data) if exact else self.store.blobs.size(digest)  # type: ignore[arg-type]
        artifact = Artifact(path, digest, size, kind, clock.now())
        values = {"run_seq": row["seq"], **artifact.to_dict()}
        with self.store.write() as db:
            self.store.upsert(db, schema.artifacts, [values], ["run_seq", "path"])
        self.context().touch("artifact", row["id"], path, "write")
        return artifact

    def artifacts(self, ref: str) -> list[Artifact]:
        """The files kept with a run, by path."""
        a = schema.artifacts
        query = sa.select(a).where(a.c.run_seq == self._row(ref)["seq"]).order_by(a.c.path)
        with self.store.read() as db:
            return [_artifact(row) for row in db.execute(query).mappings()]

    def artifact(self, run_id: str, path: str) -> bytes:
        """The bytes of one artifact, verified.

        Raises:
            NotFound: the run keeps no such file.
        """
        held = {a.path: a for a in self.artifacts(run_id)}
        if path not in held:
            raise NotFound.of("artifact", path, held)
        return self.store.blobs.get(held[path].digest)


def _artifact(row: Any) -> Artifact:
    return Artifact(row["path"], row["digest"], row["bytes"], row["media_type"], row["created_at"])


def check_artifact_path(path: str) -> str:
    """A relative path with ``/`` that stays inside, as MLflow wants it.

    Raises:
        InvalidValue: absolute, empty, with ``..`` or control characters.
    """
    clean = posixpath.normpath(path.replace("\\", "/")) if isinstance(path, str) else ""
    inside = (
        clean not in {"", ".", ".."}
        and not clean.startswith(("/", "../"))
        and clean.isprintable()
        and len(clean) <= 500
    )
    if not inside:
        raise InvalidValue(
            f"{str(path)[:80]!r} cannot be the path of an artifact", "use a relative path such as plots/roc.png"
        )
    return clean
