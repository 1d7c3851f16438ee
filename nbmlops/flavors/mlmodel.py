"""A package as an MLflow model directory: ``mlflow.pyfunc.load_model`` and ``mlflow models serve`` take it.

MLflow is not needed to write one. Its ``python_function`` is our own loader (:mod:`nbmlops.flavors.pyfunc`): the rules
of trust stay ours; where ONNX was proved, the directory is an ``onnx`` model besides, which needs no nbmlops.
``nbmlops/index.json`` has the digest of every file: a changed one is named, and nothing is built.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from nbmlops.errors import NotFound, Untrusted

DATA, INDEX, FORMAT = "nbmlops", "index.json", "nbmlops-mlmodel-1"
_LARGEST_INDEX = 16 << 20  # bytes
_TYPES = {"boolean": "boolean", "text": "string", "categorical": "string", "datetime": "datetime"}


def files(
    package: Mapping[str, Any], content: Mapping[str, bytes], about: Mapping[str, Any], onnx: bytes | None = None
) -> dict[str, bytes]:
    """The files of the directory, by their paths in it.

    Args:
        package: the manifest.
        content: the package's files by name.
        about: ``ref``, ``store`` and ``created_at`` (seconds).
        onnx: the model as ONNX, if that was proved.
    """
    import yaml

    signature = package["signature"]
    made: dict[str, bytes] = {f"{DATA}/{name}": data for name, data in content.items()}
    made[f"{DATA}/manifest.json"] = json.dumps(package, sort_keys=True, indent=1).encode()
    libraries = content["requirements.txt"].decode().splitlines()
    made["requirements.txt"] = ("\n".join(["nbmlops", *libraries]) + "\n").encode()
    made["python_env.yaml"] = _yaml({"python": package["python"], "dependencies": ["-r requirements.txt"]})
    pip = {"pip": ["nbmlops", *libraries]}
    made["conda.yaml"] = _yaml(
        {"name": "nbmlops", "channels": ["conda-forge"], "dependencies": [f"python={package['python']}", "pip", pip]}
    )
    example = _example(json.loads(content["input_example.json"])["inputs"], signature)
    made["input_example.json"] = json.dumps(example).encode()
    made["serving_input_example.json"] = json.dumps({"dataframe_split": example}).encode()
    environment = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
    flavors: dict[str, Any] = {
        "python_function": {
            "loader_module": "nbmlops.flavors.pyfunc", "data": DATA, "env": environment,
            "python_version": package["python"],
        }
    }  # fmt: skip
    if onnx is not None:
        made["model.onnx"] = onnx
        flavors["onnx"] = {"data": "model.onnx", "providers": ["CPUExecutionProvider"]}
    told = {
        "artifact_path": "model",
        "flavors": flavors,
        "model_uuid": hashlib.sha256(f"{about['store']}{about['ref']}".encode()).hexdigest()[:32],
        "run_id": about.get("run_id"),
        "utc_time_created": datetime.fromtimestamp(about["created_at"], UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "signature": _signature(signature),
        "saved_input_example_info": {
            "artifact_path": "input_example.json", "pandas_orient": "split",
            "serving_input_path": "serving_input_example.json", "type": "dataframe",
        },
        "metadata": {"nbmlops": {"ref": about["ref"], "store": about["store"]}},
    }  # fmt: skip
    made["MLmodel"] = yaml.safe_dump(told, sort_keys=True).encode()
    index = {"format": FORMAT, **about, "files": {name: _digest(data) for name, data in sorted(made.items())}}
    made[f"{DATA}/{INDEX}"] = json.dumps(index, sort_keys=True, indent=1).encode()
    return made


def _yaml(value: Any) -> bytes:
    import yaml

    return yaml.safe_dump(value, sort_keys=False).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _example(rows: list[dict[str, Any]], signature: Mapping[str, Any]) -> dict[str, Any]:
    names = [c["name"] for c in signature["inputs"]]
    return {"columns": names, "data": [[row.get(name) for name in names] for row in rows]}


def _signature(signature: Mapping[str, Any]) -> dict[str, Any]:
    """As MLflow writes one: lists of columns as JSON texts. Arrays are columns too, as our servers take them."""
    inputs = [
        {"type": _type(c), "name": c["name"], "required": not (c["nullable"] or c["type"].startswith("float"))}
        for c in signature["inputs"]
    ]
    outputs = [{"type": _type(c), "name": c["name"], "required": True} for c in signature["outputs"]]
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs) if outputs else None, "params": None}


def _type(column: Mapping[str, Any]) -> str:
    if column["kind"] != "numeric":
        known = column.get("categories") or [""]
        numbers = column["kind"] == "categorical" and not any(isinstance(c, str | bool) for c in known)
        return "double" if numbers else _TYPES[column["kind"]]
    # A whole number that may be missing comes as a float: JSON and pandas have no other way.
    return "long" if "int" in column["type"].lower() and not column["nullable"] else "double"


def write(folder: Path, made: Mapping[str, bytes]) -> None:
    """Write the files; the folder is new, or empty.

    Raises:
        OSError: it cannot be written.
    """
    for name, data in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def check(folder: Path) -> dict[str, Any]:
    """The index of an exported directory, after every file in it was found to be what was written.

    Raises:
        NotFound: it was not exported by nbmlops.
        Untrusted: names every file that was changed, added, removed, or leads out of the directory.
    """
    path = folder / DATA / INDEX
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST_INDEX:
            raise _changed([f"{DATA}/{INDEX} is no file of ours"])
        index = json.loads(path.read_bytes())
        listed = index["files"]
        fits = index["format"] == FORMAT and all(isinstance(k, str) and isinstance(v, str) for k, v in listed.items())
    except OSError as error:
        raise NotFound(
            f"{folder} is no model that nbmlops has exported", "nbmlops model export REF DIR writes one"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _changed([f"{DATA}/{INDEX} cannot be read"]) from error
    if not fits:
        raise _changed([f"{DATA}/{INDEX} cannot be read"])
    wrong = [fault for name, digest in listed.items() if (fault := _fault(folder, name, digest))]
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or p.is_file()}
    extra = sorted(
        n for n in there - {*listed, f"{DATA}/{INDEX}"} if "__pycache__" not in n and n.startswith(f"{DATA}/")
    )
    if wrong := [*wrong, *(f"{name} was added" for name in extra)]:
        raise _changed(wrong)
    return index


def _fault(folder: Path, name: str, digest: str) -> str:
    path, parts = folder / name, Path(name).parts
    if Path(name).is_absolute() or ".." in parts or not parts:
        return f"{name!r} leads out of the directory"
    if any((folder / Path(*parts[: n + 1])).is_symlink() for n in range(len(parts))):
        return f"{name} is a link"
    try:
        return "" if _digest(path.read_bytes()) == digest else f"{name} was changed"
    except OSError:
        return f"{name} was removed"


def _changed(wrong: list[str]) -> Untrusted:
    shown = "; ".join(wrong[:8])
    return Untrusted(
        f"this exported model is not what was written: {shown}", "export it again from the registry", wrong
    )


def load(folder: Path, trusted: tuple[str, ...] = ()) -> tuple[Any, dict[str, Any]]:
    """The model of an exported directory and its signature, after the directory was checked.

    Raises:
        Untrusted: a file is not what was written, or holds types that are not trusted; nothing was built.
    """
    from nbmlops import flavors

    check(folder)
    manifest = json.loads((folder / DATA / "manifest.json").read_bytes())
    held = {name: (folder / DATA / name).read_bytes() for name in manifest["files"] if name.startswith("model.")}
    return flavors.load(manifest["flavor"], held, trusted), manifest["signature"]


def as_given(signature: Mapping[str, Any], rows: Any) -> pd.DataFrame:
    """Rows as MLflow hands them over, in the signature's types.

    Raises:
        InvalidValue: they do not fit; all faults at once.
    """
    from nbmlops.flavors import checking

    frame = rows
    if isinstance(rows, pd.DataFrame):  # whole numbers that may be missing, and texts of categories
        numbers = {c["name"] for c in signature["inputs"] if "int" in c["type"].lower() and c["nullable"]}
        frame = rows.assign(**{n: rows[n].astype(object).where(rows[n].notna(), None) for n in numbers if n in rows})
    return checking.check(signature, frame, "the input")
