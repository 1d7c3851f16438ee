"""What surrounds a run: what is noted, the lock that pip takes, and what differs between two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.notebook import installed, provenance
from nbmlops.runs import environment, origin
from nbmlops.runs.environment import machine

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA = "ab" * 32


def facts(**more: Any) -> dict[str, Any]:
    """A small noted environment."""
    return {
        "python": "3.11.7",
        "implementation": "CPython",
        "platform": "Linux-6.1-x86_64-with-glibc2.36",
        "machine": "x86_64",
        "packages": {"numpy": "2.1.0", "rich": "13.7"},
        "imported": ["numpy"],
        "libraries": [{"api": "blas", "library": "openblas", "version": "0.3.30", "threads": 2}],
        "build": {"hash_seed": "random", "kind": "virtual environment"},
        "os": {"system": "Linux", "name": "Debian 12", "libc": "glibc 2.36"},
        "cpu": {"model": "A", "usable": 2, "features": ["avx", "avx2"]},
        "variables": {},
        "gpus": [],
        **more,
    }


# --- noting -------------------------------------------------------------------------------------------------------
def test_what_is_noted_of_this_process() -> None:
    import numpy
    import sklearn

    known = environment.here()
    assert known["packages"]["numpy"] == numpy.__version__
    assert known["packages"]["scikit-learn"] == sklearn.__version__
    assert {"numpy", "scipy", "scikit-learn"} <= set(known["imported"])
    assert "jupyterlab" not in known["imported"], "installed, and not loaded"
    assert "nbmlops" not in known["imported"], "the recorder is no part of a result"
    assert {one["api"] for one in known["libraries"]} >= {"blas"}
    assert all(one["threads"] >= 1 for one in known["libraries"])
    assert known["cpu"]["usable"] == len(os.sched_getaffinity(0))
    assert known["build"]["kind"] in {"virtual environment", "conda environment", "system"}
    assert known["records"]["numpy"], "two installations of one version can be told apart"
    text = environment.now().decode()
    assert str(Path.home()) not in text
    assert sys.prefix not in text
    assert environment.now() == text.encode(), "nothing in it changes by itself"


def test_nothing_is_imported_to_be_noted() -> None:
    code = (
        "import sys, json\nfrom nbmlops.runs import environment\nknown = environment.here()\n"
        "loaded = sorted({'numpy', 'threadpoolctl'} & set(sys.modules))\n"
        "print(json.dumps([known['imported'], known['libraries'], loaded]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported, libraries, loaded = json.loads(done.stdout)
    assert "numpy" not in loaded or "numpy" in imported, "what nbmlops itself loads"
    if not loaded:
        assert (imported, libraries) == ([], [])


def test_an_import_in_the_middle_of_a_run_and_a_variable_are_noted_at_its_end(tmp_path: Path) -> None:
    code = """
import os
import nbmlops
with nbmlops.start_run() as run:
    nbmlops.log_metric("x", 1)
    import yaml, sklearn.utils
    os.environ["OMP_NUM_THREADS"] = "3"
    os.environ["API_TOKEN"] = "hidden"
found = nbmlops.session.workspace().environment(run.run_id)
print(sorted(found.imported), found.facts["variables"], "hidden" in str(found.facts))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'scikit-learn'" in done.stdout
    assert "'pyyaml'" in done.stdout, "a kernel loads it too, but this code names it"
    assert "'OMP_NUM_THREADS': '3'" in done.stdout
    assert done.stdout.rstrip().endswith("False")


def test_of_what_a_warm_kernel_was_forked_with_only_what_is_named_and_needed_counts() -> None:
    code = """
import pandas as _pandas, scipy.linalg, yaml
from nbmlops.kernels import preload
from nbmlops.runs import environment
import sys
preload.FORKED_WITH.update(sys.modules)
print(*environment.here()["imported"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"numpy", "pyyaml", "scipy"}, "pandas was there before anything ran"


def test_runs_in_the_same_surroundings_share_one_text(nb: Any, ws: Any) -> None:
    digests = set()
    for _ in range(3):
        with nb.start_run() as run:
            nb.log_metric("x", 1)
        digests.add(ws.runs.get(run.run_id).environment)
    assert len(digests) == 1
    assert None not in digests


def test_who_did_the_work_notes_where_and_the_owner_does_not_overwrite_it(
    ws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = ws.runs.start("e")
    ws.runs.origins._threads[owner.run_id].join()
    worker = ws.runs.resume(owner.run_id, owned=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    worker.end()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    owner.end()
    assert ws.environment(owner.run_id).facts["variables"]["OMP_NUM_THREADS"] == "7"


def test_a_broken_installation_does_not_keep_a_run_from_ending(ws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    live = ws.runs.start("e")
    ws.runs.origins._threads[live.run_id].join()
    monkeypatch.setattr(environment, "now", lambda: 1 / 0)
    live.end()
    assert ws.runs.get(live.run_id).status == "FINISHED"


def test_gpus_by_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine._gpus() == {"gpus": []}
    tool.write_text("#!/bin/sh\necho 'NVIDIA L4, 550.54, 23034 MiB'\necho 'NVIDIA L4, 550.54, 23034 MiB'\n")
    tool.chmod(0o755)
    found = machine._gpus()["gpus"]
    assert found == [{"name": "NVIDIA L4", "driver": "550.54", "memory": "23034 MiB"}] * 2
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert machine._gpus() == {"gpus": []}, "a driver without a device"


# --- where a distribution came from -------------------------------------------------------------------------------
def test_what_direct_url_says() -> None:
    git = {"url": "https://me:token@example.org/a.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}
    assert provenance.source(json.dumps(git)) == {
        "vcs": "git", "url": "https://example.org/a.git", "commit": COMMIT,
    }  # fmt: skip
    ssh = {**git, "url": "ssh://git:pw@example.org/a.git", "subdirectory": "lib"}
    assert provenance.source(json.dumps(ssh))["url"] == "ssh://git@example.org/a.git"
    assert provenance.source(json.dumps(ssh))["subdirectory"] == "lib"
    wheel = {"url": "file:///w/a.whl", "archive_info": {"hash": f"sha256={SHA}", "hashes": {"sha256": SHA}}}
    assert provenance.source(json.dumps(wheel)) == {"hashes": {"sha256": SHA}}
    folder = {"url": "file:///home/me/my%20pkg", "dir_info": {"editable": True}}
    assert provenance.source(json.dumps(folder)) == {"folder": "/home/me/my pkg", "editable": True}
    assert provenance.source(json.dumps({**folder, "dir_info": {}}), "conda\n") == {}, "where conda built it"
    for text in ("", "{", "[]", '{"url": "x"}', json.dumps({**git, "vcs_info": {"commit_id": "; rm"}})):
        assert provenance.source(text) == {}


def test_the_digest_of_what_a_wheel_brought_does_not_tell_where_it_lies() -> None:
    wheel = ["a/__init__.py,sha256=x,10", "a/b.py,sha256=y,11", "a-1.dist-info/METADATA,sha256=z,9"]
    one = [*wheel, "../../../bin/a,sha256=venv1,200", "a/__pycache__/b.pyc,,", "a-1.dist-info/INSTALLER,sha256=pip,4"]
    other = ["../../../bin/a,sha256=venv2,201", "a-1.dist-info/direct_url.json,sha256=u,4", *reversed(wheel)]
    digest = provenance.record_digest("\n".join(one))
    assert len(digest) == 32
    assert provenance.record_digest("\n".join(other)) == digest
    assert provenance.record_digest("\n".join([*wheel[:1], "a/b.py,sha256=patched,11", wheel[2]])) != digest
    assert provenance.record_digest("") == ""


def test_what_is_installed_in_the_middle_of_a_session_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import packaging.requirements  # noqa: F401  (on the path that is replaced)

    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert environment.here()["packages"] == {}
    (site / "late-1.dist-info").mkdir()
    (site / "late-1.dist-info" / "METADATA").write_text("Name: late\nVersion: 1\n")
    assert environment.here()["packages"] == {"late": "1"}


def test_a_folder_is_noted_by_its_commit_not_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import packaging.requirements  # noqa: F401  (on the path that is replaced)

    project = tmp_path / "project"
    info = tmp_path / "venv" / "site-packages" / "mine-1.dist-info"
    info.mkdir(parents=True)
    project.mkdir()
    (info / "METADATA").write_text("Name: mine\nVersion: 1\n")
    (info / "direct_url.json").write_text(json.dumps({"url": project.as_uri(), "dir_info": {"editable": True}}))
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b"]
    (project / "mine.py").write_text("x = 1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(sys, "path", [str(info.parent)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    room = environment.packages
    for clear in (room.installed_here.cache_clear, origin._git_cache.clear):
        clear()
    try:
        clean = room.installed_here(installed.state())["sources"]["mine"]
        assert (clean["editable"], clean["dirty"], len(clean["commit"])) == (True, False, 40)
        assert str(tmp_path) not in json.dumps(room.installed_here(installed.state()))
        (project / "mine.py").write_text("x = 2\n")
        room.installed_here.cache_clear()
        origin._git_cache.clear()
        assert room.installed_here(installed.state())["sources"]["mine"]["changes"]
    finally:
        room.installed_here.cache_clear()
        installed._index.cache_clear()


# --- the lock -----------------------------------------------------------------------------------------------------
SOURCES = {
    "numpy": {},
    "fromgit": {"vcs": "git", "url": "https://example.org/x.git", "commit": COMMIT, "subdirectory": "lib"},
    "mine": {"editable": True, "commit": COMMIT, "dirty": True},
    "wheel": {"hashes": {"sha256": SHA}},
}


def test_the_lock_names_every_distribution_the_imported_ones_first() -> None:
    packages = {
        "wheel": "1.0",
        "zeta": "1",
        "numpy": "2.1.0",
        "fromgit": "0.2",
        "mine": "3",
        "pip": "26",
        "odd": "2004d",
    }
    known = facts(packages=packages, imported=["zeta", "mine"], sources=SOURCES)
    text = environment.lock(json.dumps(known).encode())
    lines = text.splitlines()
    assert lines[:2][1] == "# Python: 3.11.7"
    assert lines.index("zeta==1") < lines.index("# --- also installed") < lines.index("numpy==2.1.0")
    assert f"fromgit @ git+https://example.org/x.git@{COMMIT}#subdirectory=lib  # 0.2" in lines
    assert any(x.startswith("# mine==3  # from an editable folder at commit 0123") and "elsewhere" in x for x in lines)
    assert f"wheel==1.0  # from a file: sha256:{SHA}" in lines
    assert "--hash" not in text, "pip refuses hashes for some and not for all"
    assert "# odd==2004d  # no index takes this version" in lines
    again = environment.read_lock(text)
    assert again["packages"] == packages
    assert again["imported"] == ["mine", "zeta"]
    assert (again["python"], again["machine"]) == ("3.11.7", "x86_64")
    assert again["sources"]["fromgit"]["commit"] == again["sources"]["mine"]["commit"] == COMMIT
    assert [f for f in environment.differences(again, known) if f.level != "pass"] == []


def test_hashes_are_given_when_all_are_known() -> None:
    sources = {name: {"hashes": {"sha256": SHA, "md5": "00" * 16}} for name in ("a", "b")}
    text = environment.lock(facts(packages={"a": "1", "b": "2", "pip": "26"}, imported=[], sources=sources))
    assert text.count(f" \\\n    --hash=sha256:{SHA}") == 0, "the installer's own is not known, and is left out"


@given(
    st.dictionaries(st.text(min_size=1, max_size=12), st.text(max_size=12), max_size=4),
    st.dictionaries(st.sampled_from(["url", "commit", "vcs", "subdirectory"]), st.text(max_size=20)),
)
def test_no_line_of_a_lock_is_anything_but_a_requirement_or_a_comment(packages: dict, source: dict) -> None:
    from packaging.requirements import Requirement

    known = facts(packages=packages, imported=list(packages)[:1], sources=dict.fromkeys(packages, source))
    known["machine"] = "x86\n--index-url=evil"
    for line in environment.lock(known).split("\n"):
        if line and not line.startswith("#"):
            Requirement(line.partition("  #")[0])


def test_pip_takes_the_lock(tmp_path: Path) -> None:
    """A fresh environment, wheels in a folder, no index: what pip would install is what the lock says."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, version in (("first", "1.0"), ("second", "2.5.post1")):
        make_wheel(wheels, name, version)
    known = facts(packages={"first": "1.0", "second": "2.5.post1", "mine": "1"}, sources={"mine": {"editable": True}})
    plain = tmp_path / "requirements.lock"
    plain.write_text(environment.lock(known))
    assert would_install(plain, wheels) == {"first": "1.0", "second": "2.5.post1"}
    hashed = tmp_path / "hashed.lock"
    sums = {f.name.split("-")[0]: {"hashes": {"sha256": sha256(f)}} for f in wheels.iterdir()}
    packages = {"first": "1.0", "second": "2.5.post1"}
    hashed.write_text(environment.lock(facts(packages=packages, imported=["second"], sources=sums)))
    assert hashed.read_text().count("--hash=sha256:") == 2
    assert would_install(hashed, wheels) == packages
    hashed.write_text(hashed.read_text().replace(sums["first"]["hashes"]["sha256"], SHA))
    with pytest.raises(AssertionError, match="HASHES"):
        would_install(hashed, wheels)


def would_install(lock: Path, wheels: Path) -> dict[str, str]:
    report = lock.with_suffix(".json")
    words = [
        sys.executable, "-m", "pip", "install", "--isolated", "--dry-run", "--ignore-installed", "--no-deps",
        "--no-index", "--find-links", str(wheels), "--quiet", "--report", str(report), "-r", str(lock),
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(report.read_text())["install"]
    return {row["metadata"]["name"]: row["metadata"]["version"] for row in rows}


def make_wheel(folder: Path, name: str, version: str) -> None:
    import zipfile

    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", "x = 1\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


def sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_no_lock_is_refused(tmp_path: Path) -> None:
    for text in ("", "# nothing\n", "numpy>=1\n"):
        with pytest.raises(InvalidValue, match="pins no version"):
            environment.read_lock(text)
    (tmp_path / "x.lock").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidValue, match="cannot be read"):
        environment.read_lock_file(str(tmp_path / "x.lock"))
    hashed = environment.read_lock(
        "numpy==2.1.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\nRich[x]==13.7 ; a\n"
    )
    assert hashed["packages"] == {"numpy": "2.1.0", "rich": "13.7"}
    assert "imported" not in hashed


# --- differences --------------------------------------------------------------------------------------------------
def seen(before: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f.level, f.check) for f in environment.differences(before, now)]


def test_the_same_does_not_differ() -> None:
    assert environment.differences(facts(), facts()) == ()
    here = environment.here()
    assert environment.differences(here, here) == ()


BLAS = {"api": "blas", "library": "openblas", "version": "0.3.30", "threads": 2}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"python": "3.12.0"}, ("block", "python")),
        ({"python": "3.11.9"}, ("pass", "other differences")),
        ({"implementation": "PyPy"}, ("block", "python")),
        ({"machine": "aarch64"}, ("block", "CPU architecture")),
        ({"packages": {"numpy": "3.0.0", "rich": "13.7"}}, ("block", "numpy")),
        ({"packages": {"numpy": "2.2.0", "rich": "13.7"}}, ("block", "numpy")),
        ({"packages": {"numpy": "2.1.3", "rich": "13.7"}}, ("warn", "numpy")),
        ({"packages": {"rich": "13.7"}}, ("block", "numpy")),
        ({"packages": {"numpy": "2.1.0", "rich": "15"}}, ("pass", "other differences")),
        ({"packages": {"numpy": "2.1.0", "rich": "13.7", "new": "1"}}, ("pass", "other differences")),
        ({"libraries": [{**BLAS, "threads": 8}]}, ("warn", "BLAS threads")),
        ({"libraries": [{**BLAS, "library": "mkl"}]}, ("warn", "BLAS")),
        ({"libraries": []}, ("pass", "BLAS")),
        ({"build": {"hash_seed": "0"}}, ("warn", "hash seed")),
        ({"os": {"system": "Darwin"}}, ("warn", "operating system")),
        ({"os": {"system": "Linux", "libc": "glibc 2.39"}}, ("warn", "C library")),
        ({"cpu": {"features": ["avx"]}}, ("warn", "CPU instructions")),
        ({"cpu": {"model": "B", "features": ["avx", "avx2"]}}, ("pass", "other differences")),
        ({"variables": {"MKL_CBWR": "COMPATIBLE"}}, ("warn", "MKL_CBWR")),
        ({"variables": {"LANG": "C"}}, None),
        ({"gpus": [{"name": "L4"}]}, ("pass", "other differences")),
    ],
)
def test_each_difference_has_its_weight(change: dict[str, Any], expected: tuple[str, str] | None) -> None:
    assert seen(facts(), facts(**change)) == ([expected] if expected else [])


def test_the_worst_comes_first_and_the_rest_is_one_line() -> None:
    now = facts(
        python="3.12.1",
        packages={"numpy": "2.1.9"},
        cpu={"model": "B", "usable": 64, "features": ["avx", "avx2"]},
        memory_gb=1.0,
        libraries=[{**BLAS, "threads": 64}],
    )
    found = environment.differences(facts(memory_gb=2.0), now)
    assert [f.level for f in found] == ["block", "warn", "warn", "pass"]
    assert "OPENBLAS_NUM_THREADS=2" in found[2].hint
    assert found[-1].seen.count(";") == 3


def test_a_commit_and_other_files_of_one_version_are_told() -> None:
    before = facts(sources={"numpy": {"vcs": "git", "commit": COMMIT}}, records={"numpy": "a"})
    assert seen(before, facts(sources={"numpy": {"vcs": "git", "commit": COMMIT[::-1]}})) == [("block", "numpy")]
    assert seen(facts(records={"numpy": "a"}), facts(records={"numpy": "b"})) == [("warn", "numpy")]


def test_what_earlier_versions_noted_is_read_and_compared_as_far_as_it_goes() -> None:
    old = {
        "python": "3.11.2", "implementation": "CPython", "platform": "Linux-6", "machine": "x86_64", "cpus": 4,
        "packages": {"NumPy": "2.1.0", "PyYAML": "6.0"},
    }  # fmt: skip
    known = environment.facts(json.dumps(old))
    record = environment.of(known)
    assert (record.imported, record.python) == (None, "3.11.2")
    found = seen(known, facts(packages={"numpy": "2.1.0", "pyyaml": "5.0"}))
    assert found == [("block", "pyyaml"), ("pass", "other differences")], "all count where no import was noted"
    assert "NumPy==2.1.0" in environment.lock(known)


@pytest.mark.parametrize("text", ["", "[]", "7", '{"python": 3}', '{"python": "3", "packages": []}'])
def test_what_is_no_environment_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        environment.facts(text)


def test_every_fault_of_a_hostile_environment_is_named() -> None:
    hostile = {"packages": {}, "libraries": [1], "sources": {"a": 1}, "imported": "numpy", "cpu": []}
    with pytest.raises(InvalidValue) as caught:
        environment.facts(json.dumps(hostile))
    assert len(caught.value.faults) == 5


# --- the doors ----------------------------------------------------------------------------------------------------
@pytest.fixture
def run_id(nb: Any) -> str:
    import numpy  # noqa: F401

    with nb.start_run("one") as run:
        nb.log_metric("x", 1)
    return str(run.run_id)


def test_run_env_on_the_command_line(cli: Callable[..., Any], run_id: str, tmp_path: Path) -> None:
    import numpy

    shown = cli("run", "env", run_id).out
    assert f"numpy=={numpy.__version__}" in shown
    assert json.loads(cli("run", "env", run_id, "--format", "json").out)["packages"]["numpy"] == numpy.__version__
    said = cli("run", "env", run_id, "-o", str(tmp_path / "a.lock")).out
    assert said.startswith("wrote ")
    assert (tmp_path / "a.lock").read_text() == shown
    cli("run", "env", "nothing", code=3)


def test_doctor_against(cli: Callable[..., Any], run_id: str, tmp_path: Path) -> None:
    assert "[pass]" in cli("doctor", "--against", run_id).out
    lock = tmp_path / "a.lock"
    cli("run", "env", run_id, "-o", str(lock))
    assert cli("doctor", "--against", str(lock), "--json").json()["findings"] == []
    lock.write_text(lock.read_text().replace("numpy==", "numpy==0."))
    found = cli("doctor", "--against", str(lock), "--json", code=1).json()["findings"]
    assert [f["check"] for f in found] == ["numpy"]
    cli("doctor", "--against", "nothing.lock", code=3)


def test_a_model_version_leads_to_its_run_or_to_its_package(nb: Any, ws: Any) -> None:
    import numpy
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(numpy.arange(8.0).reshape(-1, 1), numpy.arange(8.0))
    with nb.start_run("fit") as run:
        nb.register_model(model, "inside", input_example=numpy.zeros((2, 1)))
    nb.register_model(model, "outside", input_example=numpy.zeros((2, 1)))
    assert ws.environment("model:inside").digest == ws.environment(run.run_id).digest
    alone = ws.environment("outside@1")
    assert "scikit-learn" in (alone.imported or ())
    assert ws.check_environment("model:outside@1").ok


def test_an_environment_shows_itself(ws: Any, nb: Any, run_id: str) -> None:
    from nbmlops import display

    found = ws.environment(run_id)
    assert "numpy" in found.imported  # a card may not show all of them: other tests have imported more
    assert "packages" in display.text(found)
    assert "packages" in display.html(found)
    check = ws.check_environment(run_id)
    assert check.ok
    assert "pass" in display.html(check)
    assert json.dumps(found.to_dict())


def test_a_run_without_noted_environment_says_so(ws: Any) -> None:
    import sqlalchemy as sa

    from nbmlops.store import schema

    live = ws.runs.start("e")
    live.end()
    with ws.store.write() as db:
        db.execute(sa.update(schema.runs).values(environment=None))
    with pytest.raises(NotFound, match="nothing was noted"):
        ws.environment(live.run_id)
