"""A run's capsule as one zip file: the same bytes each time, in place only when it is whole."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from nbmlops.capsules import crate
from nbmlops.capsules.collecting import Collected
from nbmlops.capsules.layout import FORMAT, INDEX, Layout, as_json, content_hash
from nbmlops.capsules.opening import Capsule
from nbmlops.cells import Cells
from nbmlops.errors import BlobCorrupt, InvalidValue, MissingLibrary, NotFound, StoreFault, UsageFault
from nbmlops.records import Run
from nbmlops.runs import Runs
from nbmlops.store import Store, ledger

_DAY = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can tell
_PART = 1 << 20
_LARGE = 1 << 20
_DENSE = 100  # what deflate would make smaller than this, opening would take for a bomb
_COMPRESSED = (
    b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"\x1f\x8b", b"\x89PNG", b"\xff\xd8\xff", b"PAR1", b"BZh", b"\xfd7zXZ",
)  # fmt: skip
OWN_EVENTS = ("run.exported", "run.imported")


def lay_out(store: Store, found: Collected, run: Run, *, runs: Runs, cells: Cells) -> Layout:
    """All files of the capsule but its list."""
    layout = Layout(store)
    notebook = _notebook(layout, found, cells)
    python = _environment(layout, run)
    for name, rows in found.rows.items():
        if rows:
            layout.add(f"rows/{name}.jsonl", b"".join(map(_line, rows)))
    layout.add("run.json", as_json(run))
    layout.add("cells.json", as_json(cells.behind(run.run_id)))
    layout.add("events.json", as_json(_events(store, found)))
    certificate = runs.certificate(run.run_id)
    if certificate is not None:
        layout.add("certificate.json", as_json(certificate))
    models = [f"model:{r['name']}@{r['version']}" for r in found.rows["model_versions"] if r["run_id"] == run.run_id]
    if notebook is not None and (page := _page(notebook, run.name)):
        layout.add("notebook.html", page)
    layout.add("README.md", _readme(run, found).encode())
    _name_blobs(layout, found)
    described = crate.metadata(run, layout.files(), python=python, version=_version(), models=models)
    layout.add(crate.NAME, as_json(described))
    return layout


def index(layout: Layout, found: Collected) -> dict[str, Any]:
    """What ``capsule.json`` says."""
    files = layout.files()
    return {
        "format": FORMAT,
        "run": found.run_id,
        "inside": {name: len(rows) for name, rows in sorted(found.rows.items()) if rows},
        "without_data": found.without_data,
        "files": files,
        "blobs": dict(sorted(layout.blobs.items())),
        "content": content_hash(files),
    }


def write(layout: Layout, about: dict[str, Any], file: Path, *, force: bool) -> int:
    """Write the zip beside its place, then move it there; its size.

    Raises:
        UsageFault: the file exists, and ``force`` was not said; or it could not be opened again.
        StoreFault: it cannot be written there.
    """
    refuse_existing(file, force)
    parts: dict[str, bytes | str] = {**layout.parts, INDEX: as_json(about)}
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w") as archive:
            for name in sorted(parts):
                _write_one(archive, name, parts[name], layout.store)
        _open_again(part)
        refuse_existing(file, force)
        os.replace(part, file)
    except OSError as error:
        raise StoreFault(f"{file} cannot be written: {error.strerror or error}", "choose another place") from error
    finally:
        part.unlink(missing_ok=True)
    return file.stat().st_size


def _open_again(part: Path) -> None:
    """What could not be opened elsewhere is not left here."""
    try:
        with Capsule(part):
            return
    except InvalidValue as error:
        raise UsageFault(
            f"no capsule is made of this run: {error.message.removeprefix(f'{part.name}: ')}",
            "leave out --data, or take over the whole store with `nbmlops store merge`",
        ) from error


def refuse_existing(file: Path, force: bool) -> None:
    """Raises:
    UsageFault: it exists, and ``force`` was not said.
    """
    if file.exists() and not force:
        raise UsageFault(f"{file} exists already", "choose another name, or give --force (force=True)")


# -- parts ---------------------------------------------------------------------------------------------------------
def _notebook(layout: Layout, found: Collected, cells: Cells) -> bytes | None:
    """The executed notebook; of a stage the file it left, else its cells in the order in which they ran."""
    seq = found.run["seq"]
    kept = [r["digest"] for r in found.rows["artifacts"] if r["run_seq"] == seq and r["path"] == "executed.ipynb"]
    if kept:
        layout.add_blob("notebook.ipynb", kept[0])
        return layout.store.blobs.get(kept[0])
    try:
        made = cells.export(found.run_id)
    except NotFound:  # a script has no cells
        return None
    layout.add("notebook.ipynb", made)
    return made


def _page(notebook: bytes, title: str) -> bytes | None:
    from nbmlops.reports import notebook_html

    try:
        return notebook_html(notebook, title=title).encode()
    except (InvalidValue, MissingLibrary):  # an artifact of that name need not be a notebook
        return None


def _environment(layout: Layout, run: Run) -> str:
    """What surrounded the run, and the lock that pip takes; the version of Python, or nothing."""
    from nbmlops.runs import environment

    if run.environment is None:
        return ""
    layout.add_blob("environment/environment.json", run.environment)
    try:
        known = environment.read(layout.store, run.environment)
        layout.add("environment/requirements.txt", environment.lock(known.facts).encode())
    except InvalidValue:  # of before environments had a form
        return ""
    return known.python


def _events(store: Store, found: Collected) -> list[Any]:
    """What the ledger tells of the runs and what they made: evidence, which is not taken over elsewhere."""
    subjects = {f"run:{row['id']}" for row in found.rows["runs"]}
    subjects |= {f"model:{row['name']}@{row['version']}" for row in found.rows["model_versions"]}
    subjects |= {f"dataset:{row['name']}@{row['version']}" for row in found.rows["dataset_versions"]}
    events = [e for s in sorted(subjects) for e in ledger.read(store, subject=s) if e.type not in OWN_EVENTS]
    return sorted({e.seq: e for e in events if e.subject in subjects}.values(), key=lambda e: e.seq)


def _name_blobs(layout: Layout, found: Collected) -> None:
    """Give every blob a name that says what it is, where that is known."""
    ids = {row["seq"]: row["id"] for row in found.rows["runs"]}
    for row in found.rows["artifacts"]:
        owner = ids[row["run_seq"]]
        folder = "artifacts" if owner == found.run_id else f"nested/{owner}/artifacts"
        layout.add_blob(f"{folder}/{row['path']}", row["digest"])
    for row in found.rows["model_versions"]:
        folder = f"models/{row['name']}@{row['version']}"
        layout.add_blob(f"{folder}/package.json", row["package"])
        for name, digest in sorted(_package_files(layout.store, row["package"]).items()):
            if digest in found.blobs:
                layout.add_blob(f"{folder}/{name}", digest)
    for row in found.rows["dataset_versions"]:
        layout.add_blob(f"datasets/{row['name']}@{row['version']}/manifest.json", row["manifest"])
        if row["profile"]:
            layout.add_blob(f"datasets/{row['name']}@{row['version']}/profile.json", row["profile"])
    for digest in sorted(found.blobs):
        layout.add_blob(f"blobs/{digest.removeprefix('sha256:')}", digest)


def _package_files(store: Store, package: str) -> dict[str, str]:
    files = json.loads(store.blobs.get(package)).get("files")
    return files if isinstance(files, dict) else {}


def _line(row: dict[str, Any]) -> bytes:
    """A row as one line of JSON; bytes as base64."""
    told = {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()}
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _readme(run: Run, found: Collected) -> str:
    lines = [
        f"# Run {run.name}",
        "",
        f"Everything about the run `{run.run_id}` of the experiment {run.experiment!r}, kept by nbmlops {_version()}.",
        "",
        "- `notebook.ipynb`, `notebook.html`: what was executed, with its outputs (scripts have none)",
        "- `run.json`, `cells.json`: what it logged, and every cell that ran before it ended",
        "- `artifacts/`, `models/`, `datasets/`: files, models, and what describes the data sets",
        "- `environment/`: what it ran in; `pip install --no-deps -r environment/requirements.txt` makes it again",
        "- `ro-crate-metadata.json`: the same for other programs (RO-Crate 1.2)",
        "- `capsule.json`: each file with its hash; `rows/` and `blobs/` are for `nbmlops run import`",
        "",
        "Look at it with `nbmlops run import FILE.zip --dry-run`; without that option it is taken into your store.",
    ]
    if found.without_data:
        lines += ["", "The data themselves are not included of: " + ", ".join(found.without_data) + "."]
    return "\n".join(lines) + "\n"


# -- the zip -------------------------------------------------------------------------------------------------------
def _write_one(archive: zipfile.ZipFile, name: str, part: bytes | str, store: Store) -> None:
    info = zipfile.ZipInfo(name, _DAY)
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.file_size = store.blobs.size(part) if isinstance(part, str) else len(part)
    info.compress_type = _method(part, info.file_size, store)
    with archive.open(info, "w", force_zip64=info.file_size >= 1 << 31) as out:
        for piece in _pieces(part, store):
            out.write(piece)


def _method(part: bytes | str, size: int, store: Store) -> int:
    head = store.blobs.read(part, 0, 8) if isinstance(part, str) else part[:8]
    if head.startswith(_COMPRESSED):
        return zipfile.ZIP_STORED
    dense = size > _LARGE and size > _DENSE * _deflated(_pieces(part, store))
    return zipfile.ZIP_STORED if dense else zipfile.ZIP_DEFLATED


def _deflated(pieces: Iterable[bytes]) -> int:
    squeeze = zlib.compressobj()
    return sum(len(squeeze.compress(piece)) for piece in pieces) + len(squeeze.flush())


def _pieces(part: bytes | str, store: Store) -> Iterator[bytes]:
    if isinstance(part, bytes):
        yield part
        return
    hasher = hashlib.sha256()
    with store.blobs.stream(part) as stream:
        while piece := stream.read(_PART):
            hasher.update(piece)
            yield piece
    if f"sha256:{hasher.hexdigest()}" != part:
        raise BlobCorrupt(
            f"the stored object {part[:19]}… does not have the content its name promises",
            "restore it from a backup; no capsule was written",
        )


def _version() -> str:
    return metadata.version("nbmlops")
