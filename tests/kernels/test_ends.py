"""However a kernel, its zygote or its manager ends: it is told truly, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from warm_kernel import Kernel

from nbmlops import kernels

Starts = Callable[..., Kernel]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(happened: Callable[[], Any], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os._exit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
        ("exit()", 0),
    ],
)
def test_exit_codes_and_signals_are_told(kernel: Starts, code: str, expected: int) -> None:
    one = kernel([])
    process, zygote, pid = one.km.provisioner.process, one.zygote, one.pid
    one.kc.execute(code)
    assert process.wait(20) == expected
    assert not one.km.is_alive()
    assert wait_for(lambda: str(pid) not in children(zygote)), "reaped when the manager has heard it"


def test_interrupts_and_restarts(kernel: Starts) -> None:
    one = kernel([])
    for code in ("import time; time.sleep(60)", "while True: pass"):
        threading.Timer(0.3, one.km.interrupt_kernel).start()
        assert one.run(code).startswith("KeyboardInterrupt")
    before = one.pid
    one.km.restart_kernel()
    one.kc.wait_for_ready(timeout=30)
    assert one.usual == ""
    assert one.pid != before
    assert one.run("1 + 1") == "2"
    assert not alive(before)


def test_what_the_user_holds_is_finished_at_the_end(kernel: Starts, tmp_path: Path) -> None:
    one = kernel([], cwd=str(tmp_path))
    one.run(
        "import atexit, gzip, threading, time\n"
        "a = open('a', 'w'); a.write('text')\n"
        "b = gzip.open('b.gz', 'wb'); b.write(b'more')\n"
        "atexit.register(lambda: open('c', 'w').write('exit'))\n"
        "threading.Thread(target=lambda: (time.sleep(0.5), open('d', 'w').write('thread'))).start()\n"
        "class E:\n    def __del__(self): open('e', 'w').write('del')\n"
        "e = E()"
    )
    one.close()
    import gzip

    assert [(tmp_path / name).read_text() for name in "acde"] == ["text", "exit", "thread", "del"]
    assert gzip.decompress((tmp_path / "b.gz").read_bytes()) == b"more"


def test_a_killed_zygote_is_a_death_of_its_kernels(kernel: Starts) -> None:
    one = kernel([])
    zygote, pid, process = one.zygote, one.pid, one.km.provisioner.process
    os.kill(zygote, signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    assert not alive(pid)
    assert not one.km.is_alive()
    two = kernel([])
    assert two.usual == ""
    assert two.zygote != zygote
    assert two.run("1 + 1") == "2"


MANAGER = """
import os, sys, time
from warm_kernel import Kernel
one = Kernel([])
assert one.usual == "", one.usual
if os.fork() == 0:  # holds the connection open, as a pool of workers would
    time.sleep(60)
print(one.pid, one.zygote, flush=True)
time.sleep(60)
"""


def test_a_killed_manager_takes_its_kernel_along_and_no_other(kernel: Starts) -> None:
    one = kernel([])
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})" + MANAGER
    manager = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert manager.stdout is not None
        pid, zygote = map(int, manager.stdout.readline().split())
        assert zygote == one.zygote
        manager.kill()
        manager.wait()
        assert wait_for(lambda: not alive(pid))
    finally:
        os.killpg(manager.pid, signal.SIGKILL)
        manager.stdout.close()
    assert one.run("1 + 1") == "2"
    assert wait_for(lambda: children(zygote) == [str(one.pid)])


def test_racing_first_starts_make_one_zygote(kernel: Starts) -> None:
    kernels.stop_all()
    started: list[Kernel] = []
    threads = [threading.Thread(target=lambda: started.append(Kernel([]))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert {k.usual for k in started} == {""}
        assert len({k.zygote for k in started}) == 1
        assert len({k.pid for k in started}) == 3
    finally:
        for one in started:
            one.close(now=True)


def test_stopping_waits_for_the_last_kernel(kernel: Starts, runtime: Path) -> None:
    one = kernel([])
    zygote = one.zygote
    os_file = list((runtime / "nbmlops-kernels").glob("*.sock"))
    from nbmlops.kernels import client

    assert client.stop_all(runtime, seconds=0.2) == len(os_file)
    assert not list((runtime / "nbmlops-kernels").glob("*.sock"))
    assert one.run("1 + 1") == "2"
    assert kernel([]).zygote != zygote
    one.close()
    assert wait_for(lambda: not alive(zygote))


def test_an_idle_zygote_ends_and_one_without_its_socket(kernel: Starts, runtime: Path, monkeypatch: Any) -> None:
    from nbmlops.kernels.provisioner import WarmProvisioner

    kernels.stop_all()
    monkeypatch.setattr(WarmProvisioner.idle, "default_value", 0.2)
    one = kernel([])
    zygote = one.zygote
    one.close()
    assert wait_for(lambda: not alive(zygote))
    assert not list((runtime / "nbmlops-kernels").glob("*.sock"))
    monkeypatch.undo()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    two = kernel([])
    zygote = two.zygote
    for socket in (runtime / "nbmlops-kernels").glob("*.sock"):
        socket.unlink()
    two.close()
    assert wait_for(lambda: not alive(zygote))


@pytest.mark.slow
def test_nothing_grows_over_200_kernels(kernel: Starts) -> None:
    """Files, children and memory of the zygote after two kernels and after 200 more are the same."""
    keeper = kernel([])  # the zygote stays
    zygote = keeper.zygote
    failed: list[str] = []

    def several(number: int) -> None:
        for _ in range(number):
            one = Kernel([])
            if one.usual or one.zygote != zygote:
                failed.append(one.usual or "another zygote")
            one.close(now=True)

    def measure() -> tuple[int, list[str]]:
        wait_for(lambda: children(zygote) == [str(keeper.pid)])
        return len(os.listdir(f"/proc/{zygote}/fd")), children(zygote)

    def memory() -> int:
        return int(Path(f"/proc/{zygote}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    several(2)
    before, rss, own = measure(), memory(), len(os.listdir("/proc/self/fd"))
    turns = [threading.Thread(target=several, args=(50,)) for _ in range(4)]
    for turn in turns:
        turn.start()
    for turn in turns:
        turn.join()
    assert not failed
    assert measure() == before
    assert memory() - rss < 1_000_000
    assert len(os.listdir("/proc/self/fd")) < own + 20, "jupyter_client keeps an event loop for each thread"
