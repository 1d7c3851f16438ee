"""Model packages in the blob store: writing one with its training profile, and looking whether one is intact."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from nbmlops.errors import NbmlopsError
from nbmlops.records import Finding, ModelVersion, plain
from nbmlops.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.flavors.packaging import Package

PROFILED_ROWS = 20  # below, quantiles and histograms say nothing


def keep(store: Store, package: Package, target: str | None) -> dict[str, Any]:
    """Store a package's files, manifest and profile; returns the columns of a row that name them."""
    digests = {name: store.blobs.put(content) for name, content in package.files.items()}
    manifest = json.dumps(package.manifest(digests), sort_keys=True, separators=(",", ":")).encode()
    return {
        "flavor": package.flavor,
        "package": store.blobs.put(manifest),
        "signature": package.signature,
        "profile": _profile(store, package, target) if package.rows >= PROFILED_ROWS else None,
        "bytes": sum(map(len, package.files.values())) + len(manifest),
    }


def _profile(store: Store, package: Package, target: str | None) -> str:
    """What monitors compare with: profiles of inputs and predictions, and a sample of both as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet

    from nbmlops.frames.profile import profile_table

    inputs, outputs = (pa.Table.from_pandas(f, preserve_index=False) for f in (package.inputs, package.outputs))
    together = inputs
    for name in outputs.column_names:
        together = together.append_column(name, outputs[name])
    classes = any(name.startswith("probability_") for name in outputs.column_names)
    buffer = io.BytesIO()
    pa.parquet.write_table(together, buffer, compression="zstd")
    profile = {
        "rows": package.rows,
        "columns": profile_table(pa.Table.from_pandas(package.table, preserve_index=False)),
        "predictions": profile_table(outputs, ["prediction"] if classes else []),
        "sample": store.blobs.put(buffer.getvalue()),
        "target": target,
    }
    return store.blobs.put(json.dumps(plain(profile), sort_keys=True, separators=(",", ":")).encode())


def sample(store: Store, digest: str) -> pd.DataFrame:
    """The training sample: inputs, then outputs. Where a column has both roles, the input comes first."""
    import pyarrow.parquet

    return pyarrow.parquet.read_table(io.BytesIO(store.blobs.get(digest))).to_pandas()


def intact(store: Store, version: ModelVersion) -> list[Finding]:
    """One finding per blob of a version: whether its bytes are what was written."""
    named = {"package": version.package, **({"profile": version.profile} if version.profile else {})}
    findings = [_intact(store, what, digest) for what, digest in named.items()]
    if all(f.ok for f in findings):
        files: dict[str, str] = json.loads(store.blobs.get(version.package))["files"]
        findings += [_intact(store, what, digest) for what, digest in files.items()]
        if version.profile:
            profile = json.loads(store.blobs.get(version.profile))
            findings.append(_intact(store, "training sample", profile["sample"]))
    return findings


def _intact(store: Store, what: str, digest: str) -> Finding:
    asked = f"the bytes of {digest[:19]}…"
    try:
        return Finding(what, "pass", asked, f"{len(store.blobs.get(digest)):,} bytes as written")
    except NbmlopsError as error:
        return Finding(what, "block", asked, error.message, error.hint)


def rows_and_target(data: Any, names: list[str] | None) -> tuple[Any, str | None]:
    """Split ``(X, y)``, or a frame that has the target beside the model's columns."""
    if isinstance(data, tuple) and len(data) == 2:
        return data[0], str(target) if (target := getattr(data[1], "name", None)) is not None else None
    others = [c for c in getattr(data, "columns", ()) if names and c not in names]
    return data, str(others[0]) if len(others) == 1 else None
