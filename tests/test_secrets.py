"""Secrets: what masks them, and that no byte of a store, of a copy or of what was shown holds one."""

from __future__ import annotations

import base64
import copy
import gzip
import html
import io
import json
import logging
import pickle
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import nbmlops
from nbmlops import secrets
from nbmlops.errors import InvalidValue, SecretInData, StageFailed
from nbmlops.notebook.masking import scrub_notebook
from nbmlops.records import Run
from nbmlops.store import Store, ledger
from nbmlops.workspace import Workspace

HOME = str(Path(__file__).parents[1])
VALUE = 'tok/9f+"Zq3&x7Wm'
MASK = "[secret env:API_TOKEN]"


@pytest.fixture(autouse=True)
def _one_secret(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("API_TOKEN", VALUE)
    monkeypatch.setenv("PYTHONPATH", HOME)
    secrets.forget()
    yield
    secrets.forget()


@pytest.fixture
def token() -> nbmlops.Secret:
    return nbmlops.Secret("env:API_TOKEN")


def spelled(value: str = VALUE) -> list[bytes]:
    """What must be found nowhere: written here by other means than those that mask it."""
    data = value.encode()
    return [
        data,
        data.hex().encode(),
        base64.b64encode(data),
        base64.b64encode(b"user:" + data)[8:-4],
        json.dumps(value)[1:-1].encode(),
        json.dumps(json.dumps(value))[3:-3].encode(),
        html.escape(value).encode(),
        quote(value, "").encode(),
        value.encode("utf-32-le"),
    ]


def unpacked(data: bytes) -> Iterator[bytes]:
    """The bytes as they are, and what is packed in them."""
    yield data
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield from unpacked(archive.read(name))
    elif data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    elif data[:4] == b"(\xb5/\xfd":
        yield zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    elif data[:4] == b"PAR1":
        yield repr(pq.read_table(io.BytesIO(data)).to_pydict()).encode()


def found_in(*folders: Path) -> list[tuple[str, bytes]]:
    """Files (database, journal, blobs, copies) with a spelling of the secret, and which."""
    return [
        (str(path), needle)
        for folder in folders
        for path in ([folder] if folder.is_file() else folder.rglob("*"))
        if path.is_file()
        for data in (path.name.encode(), *unpacked(path.read_bytes()))
        for needle in spelled()
        if needle in data
    ]


# --- a secret -----------------------------------------------------------------------------------------------------
def test_a_secret_is_its_value_and_shows_its_name(token: nbmlops.Secret) -> None:
    assert token == VALUE
    assert f"Bearer {token}" == f"Bearer {VALUE}"
    assert repr([token]) == "[Secret('env:API_TOKEN')]"
    for again in (copy.copy(token), copy.deepcopy(token), pickle.loads(pickle.dumps(token))):
        assert (again, repr(again)) == (token, repr(token))
    assert not any(needle in pickle.dumps({"a": token}) for needle in spelled())


def test_a_file_holds_a_secret(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "token").write_text("from-a-file-1\n")
    assert nbmlops.Secret("file:token") == "from-a-file-1"
    assert nbmlops.Secret(f"file:{tmp_path}/token") == "from-a-file-1"


@pytest.mark.parametrize("value", ["", "short", "aaaaaaaa", "12345678", "beef1234", "FINISHED", "PI_TOKE"])
def test_a_value_that_cannot_be_masked_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", value)
    with pytest.raises(InvalidValue, match="the secret env:API_TOKEN"):
        nbmlops.Secret("env:API_TOKEN")
    assert not secrets.is_active()


def test_faults_name_the_reference_and_never_what_may_be_the_value(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe" * 20)
    for reference, match in {
        "env:NOWHERE": "no environment variable NOWHERE",
        "file:none": "no file for the secret file:none",
        "file:large": "more than 65,536 bytes",
        "file:binary": "is not text",
        "file:.": "no file",
    }.items():
        with pytest.raises(InvalidValue, match=match):
            nbmlops.Secret(reference)
        assert secrets.fault(reference)
    with pytest.raises(InvalidValue) as caught:
        nbmlops.Secret("hunter2-hunter2")
    assert "hunter2" not in "".join(caught.value.lines())


# --- masking ------------------------------------------------------------------------------------------------------
def test_nothing_is_done_while_no_secret_is_known() -> None:
    assert not secrets.is_active()
    data, lines = {"a": VALUE}, VALUE.encode()
    assert secrets.scrub(data) is data
    assert secrets.scrub_bytes(lines) == lines


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
values = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"), min_size=12, max_size=40
)


@settings(max_examples=40, deadline=None)
@given(value=values, before=texts, after=texts)
def test_every_spelling_is_masked(value: str, before: str, after: str) -> None:
    secrets.forget()
    with pytest.MonkeyPatch.context() as patch:
        try:
            patch.setenv("API_TOKEN", value)
            nbmlops.Secret("env:API_TOKEN")
        except (InvalidValue, UnicodeEncodeError):
            return
    text = f"{before}{value}{after}"
    for way in (str, repr, json.dumps, html.escape, lambda t: quote(t, ""), lambda t: json.dumps({"a": json.dumps(t)})):
        masked = secrets.scrub_text(way(text))
        assert way(value).strip("'\"") not in masked
        assert "[secret env:API_TOKEN]" in masked or value in MASK
    encoded = base64.b64encode(text.encode()).decode()
    assert MASK in secrets.scrub_text(encoded)
    assert json.loads(secrets.scrub_text(json.dumps({"a": text, "n": [1.5, None]})))["n"] == [1.5, None]
    cut = len(before) + len(value) // 2
    assert "".join(secrets.scrub_pieces([text[:cut], text[cut:]])) == secrets.scrub_text(text)


def test_the_telling_parts_of_a_secret_are_masked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    account = {"type": "service_account", "private_key": "-----BEGIN-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END-----\n"}
    monkeypatch.setenv("ACCOUNT", json.dumps(account))
    monkeypatch.setenv("DATABASE", "postgresql://me:pa55-w0rd@host/db")
    for name in ("ACCOUNT", "DATABASE"):
        nbmlops.Secret(f"env:{name}")
    assert "MIIE" not in secrets.scrub_text("key MIIEvQIBADANBgkqhkiG9w0")
    assert secrets.scrub_text("pa55-w0rd") == "[secret env:DATABASE]"
    assert secrets.scrub_text("service_account at host") == "service_account at host"


def test_colours_do_not_hide_a_secret(token: nbmlops.Secret) -> None:
    assert secrets.scrub_text(f"\x1b[31m{VALUE[:4]}\x1b[0m{VALUE[4:]}") == MASK


def test_a_notebook_is_masked_in_place(token: nbmlops.Secret) -> None:
    v4 = nbformat.v4
    outputs = [
        v4.new_output("stream", name="stdout", text="a" + VALUE[:3]),
        v4.new_output("stream", name="stderr", text="between"),
        v4.new_output("stream", name="stdout", text=VALUE[3:] + "b"),
        v4.new_output("stream", name="stderr", text=VALUE[:3]),
        v4.new_output("stream", name="stdout", text=VALUE[3:]),
        v4.new_output("display_data", {"text/html": f"<b>{html.escape(VALUE)}</b>", "application/json": {VALUE: [1]}}),
        v4.new_output("error", ename="E", evalue=VALUE, traceback=["x", f"\x1b[0;31m{VALUE}"]),
    ]
    nb = v4.new_notebook(cells=[v4.new_code_cell(f"x = {VALUE!r}", outputs=outputs)], metadata={"t": [{"v": VALUE}]})
    assert scrub_notebook(nb) is nb
    nbformat.validate(nb)
    assert VALUE[4:] not in "".join(o.get("text", "") for o in nb.cells[0].outputs)
    assert nb.cells[0].outputs[0].text == f"a{MASK}"
    assert nb.cells[0].outputs[2].text == "b"
    assert not any(needle in nbformat.writes(nb).encode() for needle in spelled())


def test_logs_of_nbmlops_are_masked(token: nbmlops.Secret, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError(VALUE)
    except ValueError:
        logging.getLogger("nbmlops.notebook").exception("%s failed", token)
    assert MASK in caplog.text
    assert VALUE not in caplog.text


# --- the gates of a store -----------------------------------------------------------------------------------------
def test_database_and_ledger_hold_no_secret(ws: Workspace, store: Store, token: nbmlops.Secret, tmp_path: Path) -> None:
    live = ws.runs.start(VALUE, f"run {VALUE}", params={"p": VALUE, VALUE: 1}, tags={"t": f"x{VALUE}y"})
    live.log_metric(VALUE, 0.5)
    live.end("FAILED", {"name": "E", "message": VALUE, "traceback": repr(VALUE)})
    run: Run = ws.runs.search([VALUE])[0]
    assert run.params == {"p": MASK, MASK: "1"}
    assert (run.tags, run.metrics) == ({"t": f"x{MASK}y"}, {MASK: 0.5})
    with store.write() as db:
        ledger.append(db, type="test", subject="model:x", user="me", data={"reason": VALUE})
    assert ledger.verify(store) == 1
    assert found_in(tmp_path) == []


def test_text_is_masked_and_keeps_its_true_size(ws: Workspace, token: nbmlops.Secret, tmp_path: Path) -> None:
    live = ws.runs.start()
    (tmp_path / "notes.txt").write_text(f"the key is {VALUE}")
    for kept in (
        live.log_artifact("a.json", json.dumps({"a": VALUE}).encode()),
        ws.runs.put_artifact(live.run_id, "notes.txt", tmp_path / "notes.txt"),
    ):
        data = ws.store.blobs.get(kept.digest)
        assert MASK.encode() in data
        assert kept.bytes == len(data)
    live.end()
    assert found_in(tmp_path / "store") == []


def parquet(compression: str) -> bytes:
    table = pa.table({"n": [1, 2], "t": pa.array(["a", f"x {VALUE}"]).dictionary_encode()})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=compression)
    return sink.getvalue()


def zipped() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", VALUE)
    return sink.getvalue()


def npy() -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.array([VALUE]))
    return sink.getvalue()


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"\0\xff" + VALUE.encode(), npy, zipped, lambda: parquet("zstd"), lambda: gzip.compress(VALUE.encode()),
        lambda: zstandard.compress(VALUE.encode()), lambda: io.BytesIO(b"." * (1 << 20) + VALUE.encode()),
    ],
    ids=["binary", "npy", "zip", "parquet", "gzip", "zstd", "stream"],
)  # fmt: skip
def test_what_cannot_be_masked_is_refused(make: Any, store: Store, token: nbmlops.Secret, tmp_path: Path) -> None:
    with pytest.raises(SecretInData, match="env:API_TOKEN") as caught:
        store.blobs.put(make())
    assert not any(needle in "".join(caught.value.lines()).encode() for needle in spelled())
    assert list(store.blobs.digests()) == []
    assert not list(tmp_path.rglob("tmp/*"))


def test_harmless_data_are_kept_as_they_are(store: Store, token: nbmlops.Secret) -> None:
    for data in (b"\0\1", b"PK\x03\x04 not a zip", gzip.compress(b"fine"), b"text", b"PAR1 no"):
        assert store.blobs.get(store.blobs.put(data)) == data


def test_frames_and_folders_with_a_secret_are_refused(ws: Workspace, token: nbmlops.Secret, tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": range(5000), "t": [*["fine"] * 4999, VALUE]})
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".env").write_text(f"API_TOKEN={VALUE}")
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / f"{VALUE.encode().hex()}.txt").write_text("x")
    for data in (frame, frame.rename(columns={"n": VALUE}).drop(columns="t"), tmp_path / "folder", tmp_path / "named"):
        with pytest.raises(SecretInData, match="env:API_TOKEN"):
            ws.datasets.snapshot(data, "d")
    assert ws.datasets.snapshot(frame.drop(columns="t"), "d").rows == 5000
    assert found_in(tmp_path / "store") == []


# --- stages -------------------------------------------------------------------------------------------------------
CELLS = (
    "import nbmlops\ntoken: nbmlops.Secret\nfail: bool = True",
    "import base64, os, sys\nprint(token)\nprint(base64.b64encode(token.encode()).decode(), token.encode().hex())\n"
    "print(token[:5], end='', flush=True)\nprint('.', end='', file=sys.stderr, flush=True)\nprint(token[5:])\ntoken",
    "from IPython.display import HTML, JSON, display\nimport html\n"
    "display(HTML(f'<b>{html.escape(token)}</b>'))\ndisplay(JSON({'a': str(token)}))\nstr(token)",
    "nbmlops.log_param('p', token)\nnbmlops.set_tag('t', 'x' + token)\nnbmlops.log_metric('auc', 0.75)\n"
    "nbmlops.log_text('Bearer ' + token, 'a.txt')\nnbmlops.log_dict({'k': [str(token)], 'n': 3}, 'a.json')\n"
    "open('kept.txt', 'w').write('ok ' + token)\nnbmlops.log_artifact('kept.txt')\nos.unlink('kept.txt')",
    "%load_ext nbmlops",
    "%%mlops run inner\nprint(token)\nplain = str(token)",
    "import pandas as pd\nnbmlops.snapshot(pd.DataFrame({'n': [1, 2]}), 'fine')\n"
    "try:\n    nbmlops.snapshot(pd.DataFrame({'t': [str(token)]}), 'bad')\n"
    "except Exception as error:\n    nbmlops.set_tag('refused', type(error).__name__)",
    "if fail:\n    plain = str(token)\n    raise RuntimeError(f'401 for {plain!r}')",
)  # fmt: skip


def notebook(path: Path, *cells: str) -> Path:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    nb.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nb, path)
    return path


def test_a_secret_given_to_a_failing_stage_is_found_nowhere(
    ws: Workspace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    work = notebook(tmp_path / "work.ipynb", *CELLS)
    out = tmp_path / "out.ipynb"
    with pytest.raises(StageFailed) as caught:
        ws.pipelines.run_stage(work, {"token": "env:API_TOKEN"}, output=out)
    run = ws.runs.get(caught.value.run_id or "")
    said = "".join([*capfd.readouterr(), *caught.value.lines(), str(run.error), repr(run)])
    assert not any(needle in said.encode() for needle in spelled()), said
    assert found_in(tmp_path / "store", out) == []
    # … and what is legitimate is all there.
    assert run.error is not None
    assert (run.status, run.error["name"], run.error["message"]) == ("FAILED", "RuntimeError", f"401 for '{MASK}'")
    assert (run.metrics, run.params["token"], run.params["p"]) == ({"auc": 0.75}, "env:API_TOKEN", MASK)
    assert (run.tags["t"], run.tags["refused"]) == (f"x{MASK}", "SecretInData")
    assert json.loads(ws.runs.artifact(run.run_id, "a.json")) == {"k": [MASK], "n": 3}
    nb = nbformat.read(out, as_version=4)
    nbformat.validate(nb)
    assert nb.cells[1].source.endswith("""token = __import__("nbmlops").Secret('env:API_TOKEN')""")
    assert nb.cells[2].outputs[0].text.startswith(f"{MASK}\n{MASK} {MASK}\n{MASK}")
    assert "Secret('env:API_TOKEN')" in str(nb.cells[2].outputs[-1])
    assert ws.datasets.get("dataset:fine").rows == 2


def test_secrets_in_a_pipeline(ws: Workspace, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One is a parameter; the other stage sets its variable itself, so that nobody outside knows what to mask."""
    notebook(tmp_path / "work.ipynb", CELLS[0], CELLS[1])
    own = "import nbmlops, os\nos.environ['OWN'] = ''.join({parts})\nown = nbmlops.Secret('env:OWN')\nprint(own)"
    notebook(tmp_path / "own.ipynb", "n = 1", own.format(parts=[VALUE[:7], VALUE[7:]]), "nbmlops.set_tag('t', own)")
    (tmp_path / "pipeline.yaml").write_text(
        "name: p\nparams: {key: env:API_TOKEN}\nstages:\n  work:\n    notebook: work.ipynb\n"
        "    params: {token: '${params.key}', fail: false}\n  own: {notebook: own.ipynb}\n"
    )
    flow = ws.pipelines.run(tmp_path / "pipeline.yaml")
    assert (flow.status, flow.params) == ("FINISHED", {"key": "env:API_TOKEN"})
    assert not any(needle in "".join(capfd.readouterr()).encode() for needle in spelled())
    assert found_in(tmp_path / "store") == []
    runs = {s.stage: s.run_id for s in flow.stages}
    assert ws.runs.get(runs["own"]).tags["t"] == MASK  # the kernel knew the value before, by the pipeline's name
    executed = {name: ws.runs.artifact(run_id, "executed.ipynb") for name, run_id in runs.items()}
    assert MASK.encode() in executed["work"]
    assert b"left out: env:OWN" in executed["own"]


def test_a_value_given_in_place_of_a_reference_is_not_repeated(ws: Workspace, tmp_path: Path) -> None:
    work = notebook(tmp_path / "work.ipynb", CELLS[0])
    with pytest.raises(InvalidValue, match="env:NAME or file:PATH") as caught:
        ws.pipelines.run_stage(work, {"token": VALUE})
    with pytest.raises(InvalidValue, match="no environment variable NOWHERE"):
        ws.pipelines.run_stage(work, {"token": "env:NOWHERE"})
    assert VALUE not in str(caught.value)
    assert ws.runs.search() == []


def test_the_database_itself_has_no_secret(ws: Workspace, token: nbmlops.Secret, tmp_path: Path) -> None:
    ws.runs.start("e", description=VALUE).end()
    with sqlite3.connect(tmp_path / "store" / "nbmlops.db") as db:
        assert db.execute("SELECT description FROM runs").fetchone() == (MASK,)
