"""Files that pretend to be capsules: each is refused with its entry named, and the store stays as it is."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbmlops.capsules import Capsule, Limits
from nbmlops.capsules.layout import content_hash
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.workspace import Workspace
from tests.capsules.conftest import workspace
from tests.store_rows import content

Files = dict[str, bytes]


class Forged:
    """A capsule taken apart; what is changed gets new hashes, so that only the deed itself is wrong."""

    def __init__(self, source: Path) -> None:
        with zipfile.ZipFile(source) as archive:
            self.files = {n: archive.read(n) for n in archive.namelist() if n != "capsule.json"}
            self.index = json.loads(archive.read("capsule.json"))
        self.more: list[tuple[zipfile.ZipInfo, bytes]] = []

    def listed(self) -> Forged:
        """Write the list of files anew."""
        self.index["files"] = {
            n: {"sha256": hashlib.sha256(c).hexdigest(), "size": len(c)} for n, c in sorted(self.files.items())
        }
        self.index["content"] = content_hash(self.index["files"])
        return self

    def put(self, name: str, data: bytes) -> Forged:
        self.files[name] = data
        return self.listed()

    def row(self, table: str, **values: Any) -> Forged:
        name = f"rows/{table}.jsonl"
        lines = [json.loads(line) for line in self.files[name].splitlines()]
        lines[0].update(values)
        return self.put(name, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def write(self, path: Path) -> Path:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("capsule.json", json.dumps(self.index))
            for name, data in self.files.items():
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # zipfile warns of a name that is there twice
                for info, data in self.more:
                    archive.writestr(info, data)
        return path


def _link(forged: Forged) -> None:
    info = zipfile.ZipInfo("artifacts/link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    forged.more.append((info, b"/etc/passwd"))


def _device(forged: Forged) -> None:
    info = zipfile.ZipInfo("artifacts/tape")
    info.create_system, info.external_attr = 3, (stat.S_IFCHR | 0o666) << 16
    forged.more.append((info, b""))


def _twice(forged: Forged) -> None:
    forged.more.append((zipfile.ZipInfo("README.md"), b"another"))


def _unlisted(forged: Forged) -> None:
    forged.more.append((zipfile.ZipInfo("extra.txt"), b"more"))


def _wrong_hash(forged: Forged) -> None:
    forged.files["README.md"] = bytes(reversed(forged.files["README.md"]))


def _longer(forged: Forged) -> None:
    forged.files["README.md"] += b"!"


def _lost(forged: Forged) -> None:
    del forged.files["run.json"]


def _set(**values: Any) -> Callable[[Forged], None]:
    return lambda forged: forged.index.update(values)


def _blob(forged: Forged) -> None:
    digest = next(iter(forged.index["blobs"]))
    forged.index["blobs"][digest] = "README.md"


def _deep(text: str) -> Callable[[Forged], Any]:
    return lambda forged: forged.put("run.json", text.encode())


def _no_blob(forged: Forged) -> None:
    name = "models/price@1/model.skops"
    digest = next(d for d, n in forged.index["blobs"].items() if n == name)
    del forged.files[name], forged.index["blobs"][digest]
    forged.listed()


DEEDS: dict[str, tuple[Callable[[Forged], Any], str]] = {
    "a bomb": (lambda f: f.put("artifacts/big", bytes(8 << 20)), "'artifacts/big': it swells"),
    "up": (lambda f: f.put("../up.txt", b"x"), "leads elsewhere"),
    "up inside": (lambda f: f.put("artifacts/../../up.txt", b"x"), "leads elsewhere"),
    "dot": (lambda f: f.put("./a", b"x"), "leads elsewhere"),
    "absolute": (lambda f: f.put("/etc/cron.d/x", b"x"), "an absolute path"),
    "a drive": (lambda f: f.put("C:/x", b"x"), "an absolute path"),
    "a backslash": (lambda f: f.put("..\\x", b"x"), "a backslash"),
    "control": (lambda f: f.put("a\nb", b"x"), "control characters"),
    "a long name": (lambda f: f.put("a" * 401, b"x"), "401 characters"),
    "a folder": (lambda f: f.put("folder/", b""), "leads elsewhere"),
    "a link": (_link, "'artifacts/link': it is no plain file"),
    "a device": (_device, "'artifacts/tape': it is no plain file"),
    "twice": (_twice, "'README.md'.* has the same name"),
    "twice by case": (lambda f: f.put("readme.MD", b"x"), "has the same name"),
    "twice by accents": (lambda f: f.put("e\u0301", b"x").put("\u00e9", b"x"), "has the same name"),
    "a file as a folder": (lambda f: f.put("README.md/x", b"x"), "has the same name, or is a file where"),
    "a wrong hash": (_wrong_hash, "'README.md': its content is not what its hash says"),
    "a wrong size": (_longer, "'README.md': it has more than"),
    "an extra file": (_unlisted, "'extra.txt': it is there, and not listed"),
    "a missing file": (_lost, "'run.json': it is listed, and not there"),
    "a wrong content hash": (_set(content="0" * 64), "does not have the content hash"),
    "a smuggled table": (lambda f: f.put("rows/model_aliases.jsonl", b"{}\n"), "no table of this name belongs"),
    "a smuggled ledger": (lambda f: f.put("rows/ledger.jsonl", b"{}\n"), "no table of this name belongs"),
    "a newer format": (_set(format="nbmlops-capsule-2"), "a newer nbmlops wrote it"),
    "another format": (_set(format="zip of mine"), "is not known"),
    "no format": (_set(format=["x"]), "is not known"),
    "more in the list": (_set(also=1), "the form of a list"),
    "a negative size": (lambda f: f.index["files"]["README.md"].update(size=-1), "the form of a list"),
    "another run": (_set(run="01BX5ZZKBKACTAV9WEVGEMMVRZ"), "the run that it is about is not among its rows"),
    "other counts": (_set(inside={"runs": 99}), "it tells of other rows"),
    "a blob that is none": (_blob, "is listed as the blob"),
    "deep JSON": (_deep("[" * 1000 + "]" * 1000), "'run.json': .*nested"),
    "very deep JSON": (_deep("[" * 1_000_000), "'run.json': it is no JSON, or nested"),
    "no JSON": (_deep("{"), "'run.json': it is no JSON"),
    "a row that is none": (lambda f: f.put("rows/runs.jsonl", b"[]\n"), "'rows/runs.jsonl': a line"),
    "no column": (lambda f: f.put("rows/runs.jsonl", b"{}\n"), "runs: columns .* are missing"),
    "no base64": (lambda f: f.row("metric_chunks", data="!"), "no base64"),
    "a chunk that promises": (lambda f: f.row("metric_chunks", data="AAD///9/"), "promises"),
    "a wrong type": (lambda f: f.row("params", value=3), "is no text"),
    "an artifact elsewhere": (lambda f: f.row("artifacts", path="../../x"), "leads elsewhere"),
    "a lost blob": (_no_blob, "is missing; .* needs it"),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One store for all of them: none may leave anything in it."""
    made = workspace(tmp_path_factory.mktemp("hostile") / "store")
    made.runs.start("prices", "ours").end()
    yield made
    made.store.close()


def state(ws: Workspace) -> Any:
    return content(ws.store), ws.events(), set(ws.store.blobs.digests())


def listed_at(data: bytes | bytearray) -> int:
    """Where the zip's list of files begins."""
    return int(struct.unpack_from("<I", data, data.rindex(b"PK\x05\x06") + 16)[0])


def refused(ws: Workspace, file: Path, **more: Any) -> InvalidValue:
    before = state(ws)
    with pytest.raises(InvalidValue) as error:
        ws.capsules.import_(file, **more)
    assert state(ws) == before
    return error.value


@pytest.mark.parametrize("name", DEEDS)
def test_what_is_forged_is_refused(here: Workspace, sent: tuple[Path, str], tmp_path: Path, name: str) -> None:
    deed, said = DEEDS[name]
    forged = Forged(sent[0] / "bare.zip")
    deed(forged)
    error = refused(here, forged.write(tmp_path / "forged.zip"))
    assert re.search(said, error.message), error.message
    assert error.hint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["forged.zip"]


def test_untouched_it_is_taken(sent: tuple[Path, str], tmp_path: Path) -> None:
    forged = Forged(sent[0] / "bare.zip").listed().write(tmp_path / "same.zip")
    with Capsule(forged) as capsule:
        assert capsule.content == json.loads(zipfile.ZipFile(sent[0] / "bare.zip").read("capsule.json"))["content"]


def test_data_that_are_not_what_their_digest_says(here: Workspace, sent: tuple[Path, str], tmp_path: Path) -> None:
    forged = Forged(sent[0] / "full.zip").row("dataset_versions", digest="blake3:" + "0" * 64)
    error = refused(here, forged.write(tmp_path / "forged.zip"))
    assert re.search(r"data: dataset:sales@\d: its content has the digest blake3", error.message)


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "cannot be read"), (b"no zip" * 100, "cannot be read"), (b"PK\x05\x06" + bytes(18), "is missing")],
)
def test_what_is_no_zip(here: Workspace, tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    assert said in refused(here, tmp_path / "x.zip").message
    with pytest.raises(NotFound):
        here.capsules.import_(tmp_path / "nothing.zip")


def test_one_that_is_cut_off_or_encrypted(here: Workspace, sent: tuple[Path, str], tmp_path: Path) -> None:
    data, file = (sent[0] / "bare.zip").read_bytes(), tmp_path / "x.zip"
    for length in (len(data) // 2, len(data) - 1, len(data) - 30):
        file.write_bytes(data[:length])
        refused(here, file)
    first = listed_at(data)
    file.write_bytes(data[: first + 8] + b"\x01" + data[first + 9 :])
    assert "is encrypted" in refused(here, file).message


def test_a_list_that_is_too_long_is_not_read(here: Workspace, sent: tuple[Path, str], tmp_path: Path) -> None:
    data, file = bytearray((sent[0] / "bare.zip").read_bytes()), tmp_path / "x.zip"
    end = data.rindex(b"PK\x05\x06")
    struct.pack_into("<I", data, end + 12, 100 << 20)
    file.write_bytes(data)
    assert "its list of files has" in refused(here, file).message


def test_entries_that_lie_over_each_other(here: Workspace, sent: tuple[Path, str], tmp_path: Path) -> None:
    data, file = bytearray((sent[0] / "bare.zip").read_bytes()), tmp_path / "x.zip"
    first = listed_at(data)
    size = struct.unpack_from("<I", data, first + 20)[0]
    struct.pack_into("<I", data, first + 20, size + 5000)
    file.write_bytes(data)
    assert "it lies over another entry" in refused(here, file).message


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(entries=3), "entries, and may have 3"),
        (Limits(bytes=20_000), "bytes, and may hold 20,000"),
        (Limits(bytes=1000), "'capsule.json': it has more than 1,000 bytes"),
        (Limits(described=6000), "rows and descriptions have more than"),
    ],
)
def test_limits(here: Workspace, sent: tuple[Path, str], limits: Limits, said: str) -> None:
    assert said in refused(here, sent[0] / "bare.zip", limits=limits).message


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=3))
def test_flipped_bytes_are_found_or_mean_nothing(
    here: Workspace, sent: tuple[Path, str], tmp_path: Path, flips: list[tuple[float, int]]
) -> None:
    data, file = bytearray((sent[0] / "bare.zip").read_bytes()), tmp_path / "x.zip"
    for place, mask in flips:
        data[int(place * len(data))] ^= mask
    file.write_bytes(data)
    try:
        with Capsule(file) as capsule:
            found = capsule.index, capsule.rows, {d: capsule.get(d) for d in capsule.index["blobs"]}
    except InvalidValue:
        return
    with Capsule(sent[0] / "bare.zip") as right:
        assert found == (right.index, right.rows, {d: right.get(d) for d in right.index["blobs"]})
