"""A warm kernel is like a fresh process: whatever can be asked of both is answered the same."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from warm_kernel import HEAVY, Kernel

SETTINGS = {"OPENBLAS_NUM_THREADS": "3", "ONE": "1", "NBMLOPS_SECRET": "s"}

# Printed by a warm kernel and by one that was started the usual way, in this order; the texts must be equal.
SAME = {
    "environment": "import os; sorted((k, v) for k, v in os.environ.items())",
    "folder": "import os; os.getcwd(), [os.umask(0o22), os.umask(0o27)]",
    "argv": "import sys; [a.rpartition('/')[2] for a in sys.argv], sys.orig_argv[:3], sys.executable, sys.prefix",
    "path": "import sys; sys.path",
    "flags": "import sys; sys.flags, sys.getfilesystemencoding(), sys.getrecursionlimit(), sys.gettrace()",
    "main": "import sys; m = sys.modules['__main__']; "
    "[sorted(n for n in vars(m) if n.startswith('__')), m.__spec__, m.__name__, vars(m) is get_ipython().user_ns]",
    "names": "%who",
    "signals": "import signal; [(n, getattr(h := signal.getsignal(n), '__name__', h)) for n in range(1, 65)]",
    "mask": "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.set_wakeup_fd(-1) >= 0",
    "session": "import os; os.getsid(0) == os.getpgrp() == os.getpid()",
    "limits": "import resource as r; [(n, r.getrlimit(v)) for n, v in vars(r).items() if n.startswith('RLIMIT')]",
    "priority": "import os; os.nice(0), sorted(os.sched_getaffinity(0)), os.getgroups()",
    "logging": "import logging as g; g.root.handlers, g.root.level, g.root.manager.disable, g.lastResort",
    "collector": "import gc; gc.isenabled(), gc.get_threshold(), gc.get_debug()",
    "faults": "import faulthandler; faulthandler.is_enabled()",
    "locale": "import locale, time; locale.getlocale(), time.tzname",
    "temporary": "import tempfile; tempfile.tempdir, tempfile.gettempdir()",
    "files": "import os; here = [f'/proc/self/fd/{f}' for f in os.listdir('/proc/self/fd') if f != '0']\n"
    "found = [os.readlink(f).partition(':')[0] for f in here if os.path.lexists(f)]\n"
    "sorted(f for f in found if 'profile_default' not in f)",  # SQLite opens the folder of the history for a moment
    "python threads": "import threading; sorted(t.name.rstrip('0123456789') for t in threading.enumerate())",
    "shell": "import subprocess; subprocess.run(['echo', 'hi'], capture_output=True, text=True).stdout",
    "bang": "!false\n_exit_code",
    "output": "import os; os.write(1, b'raw'); os.system('echo sub')",
    "name": "open('/proc/self/comm').read()",
    "await": "import asyncio\nawait asyncio.sleep(0, 3)",
    "imports": "import pandas, sklearn.ensemble, matplotlib.pyplot as plt, nbmlops",
    "blas": "import threadpoolctl\ndef pools():\n"
    "    return sorted((p['user_api'], p['num_threads']) for p in threadpoolctl.threadpool_info())\npools()",
    "threads blas": "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(1) as e:\n"
    "    print(e.submit(pools).result())",
    "warnings": "import warnings; sorted(str(f) for f in warnings.filters)",
    "matplotlib": "import matplotlib; matplotlib.get_backend(), sorted(map(str, matplotlib.rcParams.items()))",
    "errors": "import numpy; numpy.geterr(), numpy.get_printoptions()",
    "children": "import multiprocessing as mp; mp.get_start_method(), mp.current_process().name, mp.parent_process()",
    "authkey": "len(mp.current_process().authkey)",
}  # fmt: skip


@pytest.fixture
def pair(runtime: Path) -> Iterator[tuple[Kernel, Kernel]]:
    """A warm kernel and a usual one, in the same folder with the same environment and limits."""
    folder = runtime / "work folder"
    folder.mkdir(exist_ok=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    umask = os.umask(0o027)
    ours = {"JUPYTER_RUNTIME_DIR": str(runtime), "IPYTHONDIR": str(runtime / "ipython")}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        log = open(runtime / "kernels.log", "ab")  # noqa: SIM115
        options = {"cwd": str(folder), "env": SETTINGS, "stdout": log, "stderr": log}
        both = Kernel(HEAVY, **options), Kernel(None, **options)
    finally:
        os.umask(umask)
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    yield both
    for one in both:
        one.close(now=True)
    log.close()


def test_it_is_as_in_a_fresh_process(pair: tuple[Kernel, Kernel]) -> None:
    """All in one test: what a question imports changes what later ones tell, so they have their order."""
    warm, usual = pair
    assert warm.usual == ""
    answers = {what: (warm.run(code), usual.run(code)) for what, code in SAME.items()}
    assert {what: told for what, told in answers.items() if told[0] != told[1]} == {}


# --- what a fork would share or break ------------------------------------------------------------------------------
DRAWS = (
    "import random, numpy, uuid, os, tempfile, multiprocessing as mp; (random.random(), numpy.random.rand(), "
    "numpy.random.default_rng().random(), uuid.uuid4(), uuid.uuid1(), next(tempfile._get_candidate_names()), "
    "mp.current_process().authkey.hex())"
)
FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nNone"
WORKS = {
    "openmp": "from sklearn.ensemble import HistGradientBoostingClassifier as H\nimport numpy as np\n"
    "x = np.random.rand(2000, 5); H(max_iter=3).fit(x, x[:, 0] > 0.5).score(x, x[:, 0] > 0.5) > 0.9",
    "blas": "import numpy as np\na = np.random.rand(600, 600); bool(np.allclose(a @ np.linalg.inv(a), np.eye(600)))",
    "processes": "import multiprocessing as mp\ndef pids(how):\n    with mp.get_context(how).Pool(1) as pool:\n"
    "        return pool.map(abs, [-1, -2]) == [1, 2]\nall([pids(how) for how in ('fork', 'spawn', 'forkserver')])",
    "arrow": "import pandas as pd\npd.DataFrame({'a': [1, 2]}).to_parquet('x.parquet')\n"
    "bool(pd.read_parquet('x.parquet').a.sum() == 3)",
    "pickle": "import pickle\nclass A: pass\ntype(pickle.loads(pickle.dumps(A()))) is A",
    "store": "import nbmlops\nnbmlops.use('here')\nwith nbmlops.start_run('r') as run: nbmlops.log_metric('m', 1)\n"
    "len(nbmlops.search_runs()) == 1",
}  # fmt: skip


def test_two_kernels_of_a_zygote_are_apart(kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    """Draws differ, figures are figures, libraries that have threads or children of their own work."""
    one = kernel(HEAVY, cwd=str(tmp_path), env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"})
    two = kernel(HEAVY, cwd=str(tmp_path), env={"OPENBLAS_NUM_THREADS": "", "OMP_NUM_THREADS": "2"})
    assert (one.usual, two.usual, one.zygote) == ("", "", two.zygote)
    threads = (
        "import threadpoolctl; {p['num_threads'] for p in threadpoolctl.threadpool_info() if p['user_api'] == 'blas'}"
    )
    cpus = len(os.sched_getaffinity(0))
    assert [one.run(threads), two.run(threads)] == ["{1}", f"{{{min(2, cpus)}}}"]
    for first, second in zip(eval_tuple(one.run(DRAWS)), eval_tuple(two.run(DRAWS)), strict=True):
        assert first != second
    assert pictures(one, FIGURE) == 1
    for name, code in WORKS.items():
        assert one.run(code) == "True", name


def eval_tuple(text: str) -> tuple[Any, ...]:
    from uuid import UUID

    return eval(text, {"UUID": UUID})


def pictures(kernel: Kernel, code: str) -> int:
    return sum("image/png" in m["content"].get("data", {}) for m in kernel.messages(code))


def test_most_memory_is_shared(pair: tuple[Kernel, Kernel]) -> None:
    text = pair[0].run("print(open('/proc/self/smaps_rollup').read())")
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.endswith("kB")}
    assert sizes["Private_Dirty"] < sizes["Rss"] / 2


def test_the_same_figure_bytes(pair: tuple[Kernel, Kernel]) -> None:
    pixels = [
        [m["content"]["data"]["image/png"] for m in one.messages(FIGURE) if m["msg_type"] == "display_data"]
        for one in pair
    ]
    assert pixels[0] == pixels[1]
    assert len(pixels[0]) == 1


def test_what_the_folder_has_of_its_own_is_taken(kernel: Callable[..., Kernel], tmp_path: Path) -> None:
    """A module beside the notebook, or a matplotlibrc, comes before what was preloaded: as in a fresh process."""
    (tmp_path / "joblib.py").write_text("mine = True")
    warm = kernel(HEAVY, cwd=str(tmp_path))
    assert warm.usual == ""
    assert warm.run("import joblib; joblib.mine") == "True"
    assert warm.run("import os, sys; 'pandas' in sys.modules, os.getppid()") == f"(False, {warm.zygote})"
    warm.close()
    assert not Path(f"/proc/{warm.pid}").exists()
