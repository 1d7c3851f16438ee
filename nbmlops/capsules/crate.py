"""The description that other programs read: RO-Crate 1.2 as JSON-LD (https://w3id.org/ro/crate/1.2)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from nbmlops.records import Run

NAME = "ro-crate-metadata.json"
_CONTEXT = "https://w3id.org/ro/crate/1.2/context"
_PROFILE = "https://w3id.org/ro/crate/1.2"
_LICENSE = "Not known: nobody has said under which terms this may be used. Ask the people named here."
_TYPES = {
    ".ipynb": "application/x-ipynb+json", ".json": "application/json", ".jsonl": "application/jsonl",
    ".html": "text/html", ".md": "text/markdown", ".txt": "text/plain", ".csv": "text/csv", ".png": "image/png",
    ".svg": "image/svg+xml", ".parquet": "application/vnd.apache.parquet",
}  # fmt: skip


def metadata(
    run: Run, files: Mapping[str, Mapping[str, Any]], *, python: str, version: str, models: Iterable[str]
) -> dict[str, Any]:
    """The crate: what the run was, who did it, with what, on what, and what came of it.

    Args:
        run: that was exported.
        files: hash and size of each other file in the capsule, by name.
        python: its version when the run ran, or empty.
        version: of nbmlops, which writes this.
        models: references of the model versions that the run made.
    """
    ended = _time(run.ended_at or run.started_at)
    made = [_property(run.run_id, key, value) for key, value in sorted(run.metrics.items())]
    given = [_property(run.run_id, key, value, "param") for key, value in sorted(run.params.items())]
    data = [_thing(ref, "Dataset") for ref in run.datasets]
    trained = [_thing(ref, "CreativeWork") for ref in models]
    person = {"@id": f"#person-{quote(run.user or 'unknown')}", "@type": "Person", "name": run.user or "unknown"}
    software = [_software("nbmlops", version), *([_software("python", python)] if python else [])]
    notebook = [{"@id": "notebook.ipynb"}] if "notebook.ipynb" in files else []
    listed = [_file(name, facts) for name, facts in sorted(files.items())]
    action: dict[str, Any] = {
        "@id": f"#run-{run.run_id}",
        "@type": "CreateAction",
        "name": run.name,
        "instrument": [*notebook, *map(_id, software)],
        "object": [*map(_id, data), *map(_id, given)],
        "result": [*map(_id, made), *map(_id, trained)],
        "agent": _id(person),
        "startTime": _time(run.started_at),
        "endTime": ended,
        "actionStatus": f"http://schema.org/{'Completed' if run.status == 'FINISHED' else 'Failed'}ActionStatus",
    }
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Run {run.name} of {run.experiment}",
        "description": run.description or f"Everything about one run ({run.run_id}), kept by nbmlops.",
        "datePublished": ended,
        "license": _LICENSE,
        "author": _id(person),
        "hasPart": [_id(each) for each in listed],
        "mentions": _id(action),
    }
    descriptor = {
        "@id": NAME,
        "@type": "CreativeWork",
        "conformsTo": {"@id": _PROFILE},
        "about": {"@id": "./"},
    }
    graph = [descriptor, root, action, person, *software, *data, *trained, *given, *made, *listed]
    return {"@context": _CONTEXT, "@graph": graph}


def encoding(name: str) -> str:
    """The media type that the end of a name says."""
    return _TYPES.get(posixpath.splitext(name)[1].lower(), "application/octet-stream")


def _id(thing: Mapping[str, Any]) -> dict[str, str]:
    return {"@id": thing["@id"]}


def _file(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@id": quote(name),
        "@type": "File",
        "name": posixpath.basename(name),
        "contentSize": str(facts["size"]),
        "sha256": facts["sha256"],
        "encodingFormat": encoding(name),
    }


def _property(run_id: str, key: str, value: Any, kind: str = "metric") -> dict[str, Any]:
    return {"@id": f"#{kind}-{run_id}-{quote(key, safe='')}", "@type": "PropertyValue", "name": key, "value": value}


def _thing(ref: str, kind: str) -> dict[str, Any]:
    return {"@id": f"#{quote(ref, safe='')}", "@type": kind, "name": ref, "identifier": ref}


def _software(name: str, version: str) -> dict[str, Any]:
    address = "https://www.python.org/" if name == "python" else "#software-nbmlops"
    return {
        "@id": address,
        "@type": "SoftwareApplication",
        "name": name,
        "version": version,
        "softwareVersion": version,
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
