"""Which zygote a kernel gets, when there is none for it, and who may reach it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warm_kernel import Kernel

from nbmlops import kernels
from nbmlops.kernels import address, client, preload, wire

Starts = Callable[..., Kernel]
PARTS = ("sklearn.ensemble", "matplotlib.pyplot", "scipy.stats", "pyarrow.parquet", "pyarrow.dataset", "skops.io")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder on PYTHONPATH with modules to import."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def on_path(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))}


# --- what is imported ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        (["pandas", "numpy", "pandas"], ["numpy", "pandas"]),
        (["sklearn.svm", "scipy.stats", "matplotlib.pyplot"], ["matplotlib.pyplot", "scipy.stats", "sklearn.svm"]),
        (["nbmlops.session", "nbmlops"], ["nbmlops"]),
        (["torch", "xgboost", "polars", "mine", "os", "features.clean"], []),
        (["sklearn.experimental", "matplotlib.backends.backend_agg", "numpy._core", "numpy.testing"], []),
        (["pandas; import os", "", ".", "numpy..", "--idle"], []),
    ],
)  # fmt: skip
def test_only_what_is_known_to_be_safe_is_preloaded(imports: list[str], expected: list[str]) -> None:
    assert kernels.preloadable(imports) == expected


@settings(max_examples=50)
@given(st.lists(st.text() | st.sampled_from(["numpy", "pandas.plotting", "nbmlops.runs", "os"])))
def test_what_is_preloadable_stays_so(imports: list[str]) -> None:
    once = kernels.preloadable(imports)
    assert kernels.preloadable(once) == once == sorted(set(once))


@pytest.mark.slow
def test_the_imports_leave_one_thread_and_nothing_open() -> None:
    """All roots that are allowed, so that none gets onto the list unseen."""
    code = f"""
import os, sys
from nbmlops.kernels import preload
def files():
    here = [f"/proc/self/fd/{{name}}" for name in os.listdir("/proc/self/fd")]
    return [os.readlink(path) for path in here if os.path.lexists(path)]
before = files()
_, faults = preload.load_base()
faults += preload.load({[*sorted(preload._SAFE), *PARTS]!r})
print(faults, preload.settle(), sorted(set(files()) - {{*before, "/dev/null"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 1 []", done.stderr


# --- the key ---------------------------------------------------------------------------------------------------------
def test_the_key_has_what_a_fork_cannot_change(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(preload: tuple[str, ...] = ("numpy",), python: str = "/bin/python", **environment: str) -> str:
        return address.wish(python, preload, environment, cwd="/work").key()

    same = key(HOME="/h")
    assert key(HOME="/h", NBMLOPS_RUN="1", OPENBLAS_NUM_THREADS="4", JPY_SESSION_NAME="n", TOKEN="t") == same
    others = [
        key(HOME="/other"), key(HOME="/h", PYTHONHASHSEED="0"), key(HOME="/h", MALLOC_ARENA_MAX="1"),
        key(HOME="/h", LD_PRELOAD="x.so"), key(HOME="/h", OMP_NUM_THREADS="1"), key(HOME="/h", TZ="UTC"),
        key(HOME="/h", MPLBACKEND="agg"), key(("numpy", "pandas"), HOME="/h"), key(python="/usr/bin/python", HOME="/h"),
        key(HOME="/h", PYTHONPATH="src"),
    ]  # fmt: skip
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {97})
    others.append(key(HOME="/h"))
    assert len({same, *others}) == len(others) + 1


def test_relative_entries_of_the_path_are_the_kernels_own() -> None:
    found = address.wish("p", [], {"PYTHONPATH": "src:/abs:", "SECRET": "s"}, cwd="/a/b")
    assert found.environment == {"PYTHONPATH": "/a/b/src:/abs:/a/b"}


def test_a_hash_seed_is_kept_and_costs_a_zygote(kernel: Starts) -> None:
    one, two = kernel([]), kernel([], env={"PYTHONHASHSEED": "0"})
    assert (one.usual, two.usual) == ("", "")
    assert one.zygote != two.zygote
    expected = subprocess.run(
        [sys.executable, "-c", "print(hash('a'))"], env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True
    ).stdout.strip()
    assert two.run("hash('a')") == expected


# --- code that changes -----------------------------------------------------------------------------------------------
def test_a_changed_file_is_a_new_zygote(kernel: Starts, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "mine.py").write_text("value = 1")
    os.utime(project / "mine.py", (1, 1))
    one = kernel(["mine"], env=on_path(project))
    assert (one.usual, one.run("import mine; mine.value")) == ("", "1")
    (project / "mine.py").write_text("value = 22")
    os.utime(project / "mine.py", (2, 2))
    two = kernel(["mine"], env=on_path(project))
    assert (two.usual, two.run("import mine; mine.value")) == ("", "22")
    assert two.zygote != one.zygote
    assert one.run("mine.value") == "1", "what runs goes on"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", "1 more threads"),
        ("import ctypes; ctypes.string_at(0)", "it did not start"),
    ],
)
def test_imports_that_spoil_a_zygote_leave_the_usual_start(
    kernel: Starts, project: Path, source: str, why: str
) -> None:
    (project / "evil.py").write_text(source)
    os.utime(project / "evil.py", (1, 1))
    one = kernel(["evil"], env=on_path(project))
    assert why in one.usual
    assert one.run("1 + 1") == "2"
    assert [why for _, why in client._failed.values()] == [one.usual], "kept, so as not to be tried again at once"


@pytest.mark.slow
def test_an_openmp_region_before_the_fork_is_seen(kernel: Starts, project: Path) -> None:
    """Else a kernel would hang in its first one (libgomp)."""
    (project / "evil.py").write_text(
        "from sklearn.ensemble import HistGradientBoostingClassifier as H\nimport numpy as np\n"
        "x = np.random.rand(200, 2); H(max_iter=1).fit(x, x[:, 0] > 0.5)"
    )
    os.utime(project / "evil.py", (1, 1))
    one = kernel(["evil"], env=on_path(project) | {"OMP_NUM_THREADS": "2"})
    assert "more threads than one" in one.usual
    assert one.run("import evil; 1 + 1") == "2"


def test_a_module_that_cannot_be_imported_is_only_slower(kernel: Starts, project: Path) -> None:
    (project / "broken.py").write_text("raise SystemExit(3)")
    os.utime(project / "broken.py", (1, 1))
    one = kernel(["broken", "nowhere"], env=on_path(project))
    assert one.usual == ""
    assert "SystemExit" in one.run("import broken")


# --- the usual start -------------------------------------------------------------------------------------------------
def test_a_zygote_that_does_not_answer_holds_nobody_up(kernel: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_ANSWER", 0.5)
    one = kernel([])
    os.kill(one.zygote, signal.SIGSTOP)
    try:
        two = kernel([])
        assert "does not answer" in two.usual
        assert two.run("1 + 1") == "2"
    finally:
        os.kill(one.zygote, signal.SIGCONT)
    client._failed.clear()
    assert kernel([]).usual == ""


def test_a_kernel_that_cannot_be_forked_starts_as_usual(kernel: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    one = kernel([], independent=True)
    assert "outlives" in one.usual
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux" in kernels.available()


def test_a_folder_that_is_none_is_said_as_usual() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Kernel([], cwd="/nowhere")


# --- who may reach it ------------------------------------------------------------------------------------------------
def test_sockets_are_private(kernel: Starts, runtime: Path) -> None:
    assert kernel([]).usual == ""
    folder = runtime / "nbmlops-kernels"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(s.stat().st_mode) for s in folder.glob("*.sock")} == {0o600}


def test_a_zygote_holds_no_secret_of_the_kernel_that_started_it(kernel: Starts) -> None:
    kernels.stop_all()
    one = kernel([], env={"MY_TOKEN": "hunter2"})
    assert one.run("import os; os.environ['MY_TOKEN']") == "'hunter2'"
    assert b"MY_TOKEN" not in Path(f"/proc/{one.zygote}/environ").read_bytes()


def test_a_knock_or_noise_does_not_hurt_it(kernel: Starts, runtime: Path) -> None:
    one = kernel([])
    for path in (runtime / "nbmlops-kernels").glob("*.sock"):
        for noise in (b"", b"\xff" * 64, b"\x00\x00\x00\x02[]", b"\x00\x00\x00\x09{"):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.sendall(noise)
    two = kernel([])
    assert (two.usual, two.zygote) == ("", one.zygote)


def test_a_long_path_gets_a_short_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address.tempfile, "gettempdir", lambda: "/tmp")
    long = tmp_path / ("x" * 100)
    folder = Path(address.folder(str(long)))
    try:
        assert len(os.fsencode(folder)) < 79
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert address.folder(str(long)) == str(folder)
        folder.rmdir()
        folder.symlink_to(tmp_path)
        with pytest.raises(PermissionError, match="own"):
            address.folder(str(long))
    finally:
        folder.unlink() if folder.is_symlink() else folder.rmdir()


# --- the wire --------------------------------------------------------------------------------------------------------
@settings(max_examples=50)
@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_messages_come_as_they_were_sent(message: dict[str, Any]) -> None:
    one, two = socket.socketpair()
    with one, two:
        wire.send(one, message, (0,))
        found, files = wire.receive(two, 1)
        assert found == message
        assert len(files) == 1
        os.close(files[0])
        one.close()
        assert wire.receive(two) == (None, [])


@pytest.mark.parametrize(
    "data", [b"\x7f\xff\xff\xff", b"\x00\x00\x00\x05ab", b"\x00\x00\x00\x01x", b"\x00\x00\x00\x02[]", b"\x00"]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    one, two = socket.socketpair()
    with one, two:
        one.sendall(data)
        one.close()
        with pytest.raises(ValueError):
            wire.receive(two)


def test_unasked_files_are_closed() -> None:
    one, two = socket.socketpair()
    with one, two:
        wire.send(one, {}, (0, 0, 0))
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(ValueError, match="more than 1 files"):
            wire.receive(two, 1)
        assert len(os.listdir("/proc/self/fd")) == before


def test_changed_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    before = {str(tmp_path / "a"): (tmp_path / "a").stat().st_mtime_ns}
    assert preload.changed(before) == ""
    (tmp_path / "a").unlink()
    assert preload.changed(before) == str(tmp_path / "a")
