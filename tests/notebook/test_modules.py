"""Imports are followed through the project, and no further."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

import packaging.requirements  # noqa: F401  (before a test takes the installation folder away)
import pytest
from documents import notebook

from nbmlops.notebook import installed
from nbmlops.notebook.contract import read_contract
from nbmlops.notebook.modules import Imports, imported

Read = Callable[..., Imports]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Write files of a project, and read what a notebook in its folder ``notebooks`` imports."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    root = tmp_path / "project"

    def read(*cells: str, **files: str) -> Imports:
        for name, text in files.items():
            path = root / name.replace("__", "/").replace("/init/", "/__init__")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".py").write_text(text)
        (root / "notebooks").mkdir(parents=True, exist_ok=True)
        return imported(notebook(*cells), root / "notebooks", root)

    return read


def test_modules_packages_and_scripts_are_followed(project: Read) -> None:
    seen = project(
        "import helper\nimport numpy as np, os.path",
        "def late():\n    from pack.deep import one",
        "%run script.py --fast",
        "import importlib\nimportlib.import_module('pack.named')",
        notebooks__helper="import helper2\nimport pandas.core",
        notebooks__helper2="import helper",
        notebooks__script="import beside",
        notebooks__beside="",
        src__pack__init__="from . import a",
        src__pack__a="from .b import *\nfrom . import c",
        src__pack__b="",
        src__pack__c="import sklearn.linear_model, json",
        src__pack__deep__init__="from ..d import x",
        src__pack__deep__one="",
        src__pack__d="",
        src__pack__named="",
        src__pack__never="import scipy",
        src__other="import scipy",
    )
    inside = [path.removeprefix("src/pack/") for path in seen.project if path.startswith("src/")]
    assert inside == ["__init__.py", "a.py", "b.py", "c.py", "d.py", "deep/__init__.py", "deep/one.py", "named.py"]
    assert [p for p in seen.project if p.startswith("n")] == [
        f"notebooks/{name}.py" for name in ("beside", "helper", "helper2", "script")
    ]
    assert seen.distributions == {"numpy", "pandas", "sklearn"}
    assert not seen.dynamic


def test_a_digest_is_of_the_code_not_its_layout(project: Read) -> None:
    first = project("import helper", notebooks__helper="def f(x):\n    return x + 1\n").project
    again = project("import helper", notebooks__helper="# mended\ndef f( x ):\n\n    return x+1").project
    other = project("import helper", notebooks__helper="def f(x):\n    return x + 2\n").project
    assert first == again
    assert first != other


def test_what_python_finds_first_is_what_counts(project: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "shared.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    seen = project(
        "import shared, random, pandas, json, data, only_here",
        notebooks__random="x = 1",
        src__pandas="a guess loses against what is installed",
        src__json="and against the standard library",
        src__shared="",
        only_here__sub="a folder without __init__",
    )
    assert list(seen.project) == ["../lib/shared.py", "notebooks/random.py"]
    assert seen.distributions == {"pandas", "data"}, "what is nowhere may be installed next time"


def test_folders_that_a_notebook_adds(project: Read) -> None:
    seen = project(
        "import sys, os\nHERE = '..'\nsys.path.insert(0, os.path.join(HERE, 'lib'))\nsys.path += ['../more']",
        "import added, also",
        lib__added="",
        more__also="",
    )
    assert list(seen.project) == ["lib/added.py", "more/also.py"]


def test_broken_large_and_missing_modules(project: Read, tmp_path: Path) -> None:
    seen = project(
        "import broken, large, gone\nfrom broken import x\nfrom . import y\nfrom .... import z",
        notebooks__broken="def (",
        notebooks__large="x = '" + "a" * 2_100_000 + "'\nimport scipy",
    )
    assert list(seen.project) == ["notebooks/broken.py", "notebooks/large.py"]
    assert seen.distributions == {"gone"}
    broken = seen.project["notebooks/broken.py"]
    assert broken != project("import broken", notebooks__broken="def ((").project["notebooks/broken.py"]


def test_links_out_of_the_project_and_circles_of_folders(project: Read, tmp_path: Path) -> None:
    project("x", pack__init__="from .pack import pack\nfrom . import away")
    (tmp_path / "away.py").write_text("y = 1")
    (tmp_path / "project/pack/away.py").symlink_to(tmp_path / "away.py")
    (tmp_path / "project/pack/pack").symlink_to(tmp_path / "project/pack")
    assert {"pack/__init__.py", "pack/away.py"} <= set(project("import pack").project)


def test_computed_imports(project: Read) -> None:
    names = "import importlib\nimportlib.import_module(name)"
    assert project("x = 1\n" + names).dynamic == ((1, "imports a module by a computed name"),)
    seen = project("import pack", src__pack__init__=names, src__pack__a="", src__pack__b="import pandas")
    assert list(seen.project) == ["src/pack/__init__.py", "src/pack/a.py", "src/pack/b.py"]
    assert seen.distributions == {"pandas"}


def test_a_notebook_that_is_run(project: Read, tmp_path: Path) -> None:
    import json

    project(notebooks__helper="")
    other = tmp_path / "project/notebooks/other.ipynb"
    other.write_text(json.dumps(notebook("import helper  # first")))
    first = project("%run other.ipynb").project
    assert list(first) == ["notebooks/helper.py", "notebooks/other.ipynb"]
    other.write_text(json.dumps(notebook("import helper")))
    assert project("%run other.ipynb").project == first


def test_an_editable_installation_is_part_of_the_project(
    project: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "venv" / "site-packages"
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "mine.py").write_text("")
    site.mkdir(parents=True)
    (site / "mine.pth").write_text(f"# a comment\nimport os\n{tmp_path / 'linked'}\n")
    (site / "theirs.py").write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    seen = project("import mine, theirs")
    assert list(seen.project) == ["../linked/mine.py"]
    assert seen.distributions == {"theirs"}


def test_an_editable_installation_through_a_finder(
    project: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hooked.py").write_text("")

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            return importlib.util.spec_from_file_location(name, tmp_path / "hooked.py") if name == "hooked" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert list(project("import hooked").project) == ["../hooked.py"]
    assert "hooked" not in sys.modules


def test_nothing_is_executed(project: Read) -> None:
    project("import pack.evil", src__pack__init__="raise SystemExit", src__pack__evil="raise SystemExit")
    assert "pack" not in sys.modules


def test_uses_of_a_module_are_told_of_the_cell_that_imports_it(project: Read, tmp_path: Path) -> None:
    fetch = "import requests, nbmlops\ndef fetch():\n    nbmlops.load_dataset('sales')\n    return requests.get(URL)"
    project("x", notebooks__helper=fetch)
    root = tmp_path / "project"
    seen = read_contract(notebook("x = 1", "from helper import fetch"), root / "notebooks/a.ipynb", root)
    assert seen.reads == ("dataset:sales",)
    assert seen.impure == ((2, "imports notebooks/helper.py, which uses the network: requests.get()"),)


# --- versions -----------------------------------------------------------------------------------------------------
def test_versions_of_what_is_imported_and_of_all_it_requires() -> None:
    from importlib import metadata

    found = installed.versions(["sklearn", "yaml", "nothing_of_this_name"])
    assert {"scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl", "pyyaml", "python", "nbmlops"} <= set(found)
    assert "jupyterlab" not in installed.versions(["nbmlops"]), "its version stands for what nbmlops requires"
    assert "pandas" in installed.versions(["nbmlops"]), "whose frames it hands out"
    assert "pandas" not in found, "extras count only where they are asked for"
    assert all(metadata.version(n) == v for n, v in found.items() if n not in {"python", "nbmlops"})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation folder of its own, and a cache folder of its own."""
    folder = tmp_path / "venv" / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not installed.is_installed(p)] + [str(folder)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def put(site: Path, name: str, version: str, *header: str, record: str = "", **files: str) -> None:
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "\n".join([f"Name: {name}", f"Version: {version}", *header, "", "Requires-Dist: no"])
    )
    (folder / "RECORD").write_text(record or f"{name}/__init__.py,,\n{name}-{version}.dist-info/RECORD,,\n")
    for file, text in files.items():
        (folder / file.replace("_json", ".json")).write_text(text)


def settle(site: Path) -> None:
    """As if the last installation were a minute ago."""
    past = os.stat(site).st_mtime_ns - 60_000_000_000
    os.utime(site, ns=(past, past))


def test_markers_extras_single_files_and_commits(site: Path) -> None:
    put(
        site, "First_Dist", "1.0", "Requires-Dist: second[fast]>=1; python_version > '3'",
        "Requires-Dist: other; sys_platform == 'nowhere'", "Requires-Dist: plot; extra == 'plot'",
        record="one.py,sha256=x,1\nfast.cpython-311-x86_64-linux-gnu.so,,\nscripts.txt,,\n../../bin/one,,\n",
    )  # fmt: skip
    put(site, "second", "2.0", "Requires-Dist: third; extra == 'fast'", "Requires-Dist: first-dist")
    put(site, "third", "3", direct_url_json='{"vcs_info": {"commit_id": "abcdef0123456789"}}')
    put(site, "plot", "4")
    put(site, "other", "5")
    for module in ("one", "fast"):
        found = installed.versions([module])
        del found["python"]
        assert found == {"first-dist": "1.0", "second": "2.0", "third": "3 (abcdef012345)"}
    assert set(installed.versions(["scripts", "bin"])) == {"python"}


def test_the_index_is_kept_until_an_installation_changes_and_never_trusted_when_damaged(site: Path) -> None:
    put(site, "mine", "1")
    installed.versions(["mine"])
    assert not (site.parents[1] / "cache").exists(), "changed a moment ago: an installation may still be going on"
    settle(site)
    assert installed.versions(["mine"])["mine"] == "1"
    (kept,) = (site.parents[1] / "cache/nbmlops").iterdir()
    installed._index.cache_clear()
    kept.write_text(kept.read_text().replace('"mine":["1"', '"mine":["kept"'))
    assert installed.versions(["mine"])["mine"] == "kept", "the index is read back"
    for damage in ("{", "[]", '{"format": 1}', kept.read_text().replace('"kept"', "7")):
        kept.write_text(damage)
        installed._index.cache_clear()
        assert installed.versions(["mine"])["mine"] == "1"
    (site / "mine-1.dist-info").rename(site / "mine-2.dist-info")
    (site / "mine-2.dist-info" / "METADATA").write_text("Name: mine\nVersion: 2\n")
    assert installed.versions(["mine"])["mine"] == "2"


def test_a_cache_folder_that_cannot_be_written_costs_only_time(site: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    put(site, "mine", "1")
    settle(site)
    assert installed.versions(["mine"])["mine"] == "1"
