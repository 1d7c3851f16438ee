"""The jobs as a user of DVC writes them. Run as ``python dvc_jobs.py JOB OPTIONS``, OPTIONS being JSON.

DVC keeps files, so a table is written as Parquet first, which counts as time; of the bytes only DVC's own copy counts.
DVC works in this process: the second its command takes to start is left out.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

# Nothing is sent, asked or kept outside of the folder of the turn.
for _name in ("SITE_CACHE_DIR", "SYSTEM_CONFIG_DIR", "GLOBAL_CONFIG_DIR"):
    os.environ[f"DVC_{_name}"] = str(Path.cwd() / "machine")
os.environ["DVC_NO_ANALYTICS"] = "1"

import pyarrow.parquet as pq  # noqa: E402
from dvc.repo import Repo  # noqa: E402

from benchmarks.meter import Meter  # noqa: E402
from benchmarks.samples import read, sales  # noqa: E402

WORK = Path("store")
KEPT = WORK / ".dvc"
FILE = WORK / "data.parquet"


def _repo() -> Repo:
    if not KEPT.exists():
        WORK.mkdir(exist_ok=True)
        Repo.init(str(WORK), no_scm=True).close()
        (KEPT / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n")
    return Repo(str(WORK))


def _warm(repo: Repo) -> None:
    """What DVC loads late has been loaded before anything is measured."""
    small = WORK / "warm.parquet"
    pq.write_table(sales(1000), small)
    repo.add(str(small))


def write(table: str, way: str, library: str = "arrow") -> dict[str, float]:
    data = read(table)
    given = data.to_pandas() if library == "pandas" else data
    repo = _repo()
    _warm(repo)
    with Meter(KEPT) as spent:
        if library == "pandas":
            given.to_parquet(FILE)
        else:
            pq.write_table(given, FILE)
        repo.add(str(FILE))
    assert way == "add"
    return spent.costs()


def first_tree(tree: str) -> dict[str, float]:
    """Add a folder; DVC wants it in its repository, so it is copied there before anything is measured."""
    repo = _repo()
    _warm(repo)
    shutil.copytree(tree, WORK / "tree")
    with Meter(KEPT) as spent:
        repo.add(str(WORK / "tree"))
    return spent.costs()


def tree_again(tree: str) -> dict[str, float]:
    assert Path(tree).exists()
    repo = _repo()
    _warm(repo)
    with Meter(KEPT) as spent:
        repo.add(str(WORK / "tree"))
    return spent.costs()


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
