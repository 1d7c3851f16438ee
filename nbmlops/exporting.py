"""The exports desk: a version as files that others can use without the registry."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from nbmlops.errors import InvalidValue, StoreFault, UsageFault
from nbmlops.evidence import Evidences
from nbmlops.models import Models
from nbmlops.records import Exported, ModelVersion
from nbmlops.store import Store
from nbmlops.store.engine import store_id

FORMATS = ("mlmodel", "onnx")


class Exports:
    """Every verb about exports."""

    def __init__(self, store: Store, models: Models, evidence: Evidences) -> None:
        self.store = store
        self.models = models
        self.evidence = evidence

    def export(self, ref: str, folder: str | os.PathLike[str], format: str = "mlmodel") -> Exported:
        """Write a version into a new or empty folder: all of it, or nothing.

        Args:
            ref: the version.
            folder: it appears only when it is complete.
            format: ``mlmodel``: a directory that MLflow loads and serves, with the ONNX file where that was proved;
                ``onnx``: ``model.onnx`` with its signature.

        Raises:
            InvalidValue: there is no such format.
            UsageFault: the folder holds something; the model cannot be proved equal as ONNX, and why; it is a pickle.
            StoreFault: the disk is full, or the folder cannot be written.
            BlobCorrupt: a stored file is not what was written.
        """
        if format not in FORMATS:
            raise InvalidValue(f"there is no format {format!r}", f"choose {' or '.join(FORMATS)}")
        version, target = self.models.get(ref), Path(folder)
        _check_free(target)
        onnx, why = self._onnx(version, needed=format == "onnx")
        made = self._mlmodel(version, onnx) if format == "mlmodel" else self._alone(version, onnx or b"")
        _put(target, made)
        return Exported(version.ref, str(target), format, tuple(sorted(made)), "proved" if onnx else "refused", why)

    def _onnx(self, version: ModelVersion, *, needed: bool) -> tuple[bytes | None, str]:
        """The model as ONNX where that was proved, and what was found."""
        (kept,) = self.evidence.gather(version.ref, ["onnx"])
        if kept.status == "done" and kept.report["status"] == "proved":
            return self.evidence.file(version.ref, "onnx", "model.onnx"), str(kept.report["reason"])
        why = str(kept.report.get("reason") or kept.report.get("error"))
        if needed:
            raise UsageFault(
                f"{version.ref} is not exported as ONNX: {why}",
                kept.report.get("hint") or "--format mlmodel keeps the model as it is",
            )
        return None, why

    def _mlmodel(self, version: ModelVersion, onnx: bytes | None) -> dict[str, bytes]:
        from nbmlops import flavors
        from nbmlops.flavors import mlmodel

        if version.flavor not in flavors.FLAVORS or version.flavor in flavors.RUNS_CODE:
            raise UsageFault(
                f"{version.ref} is kept as {version.flavor}, which runs code when it is loaded",
                "register it with the default flavor to export it",
            )
        manifest = self.models.manifest(version)
        # The rows that a version is judged by are nobody's business elsewhere.
        files = {name: d for name, d in manifest["files"].items() if not name.startswith("evaluation.")}
        content = {name: self.store.blobs.get(digest) for name, digest in files.items()}
        about = {"ref": version.ref, "store": store_id(self.store), "created_at": version.created_at}
        return mlmodel.files({**manifest, "files": files}, content, {**about, "run_id": version.run_id}, onnx)

    def _alone(self, version: ModelVersion, onnx: bytes) -> dict[str, bytes]:
        import json

        told = {"ref": version.ref, "store": store_id(self.store), "signature": version.signature}
        return {"model.onnx": onnx, "signature.json": json.dumps(told, indent=1).encode()}


def _check_free(target: Path) -> None:
    if target.is_dir() and not target.is_symlink() and not any(target.iterdir()):
        return
    if os.path.lexists(target):
        raise UsageFault(f"{target} holds something already", "name a new folder, or empty that one")
    if not target.parent.is_dir():
        raise UsageFault(f"there is no folder {target.parent}", "make it first")


def _put(target: Path, made: Mapping[str, bytes]) -> None:
    """Write beside, then rename: nobody sees half of it."""
    from nbmlops.flavors import mlmodel

    beside = None
    try:
        beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
        mlmodel.write(beside, made)
        beside.chmod(0o755)
        os.replace(beside, target)
    except OSError as error:
        raise StoreFault(
            f"{target} cannot be written: {error.strerror}", "nothing is left of it; free some space"
        ) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
