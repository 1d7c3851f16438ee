"""A process that takes snapshots when it is told to, and the frames and folders it takes them of.

Run as a script it says ``ready``; then each line of JSON on its standard input is one job. It makes the data, says
``made``, waits for a line, takes the snapshot and says what came of it. With ``die_at`` it kills itself, as by a power
cut, when it comes to touch the store for the so-manieth time: when it opens, renames, makes or removes a file, runs a
statement or commits.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TOUCHES = {"open", "os.chmod", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.utime"}


def frame_of(seed: int, rows: int) -> pd.DataFrame:
    """Frames that share most of their values: a fifth of one column, a hundred cells of another and the mark differ."""
    same, own = np.random.default_rng(0), np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": np.arange(rows),
            "noise": same.normal(size=rows),
            "text": np.char.add("t", same.integers(0, 10**6, rows).astype("U6")),
            "cell": same.integers(0, 100, rows),
            "mark": np.full(rows, seed),
        }
    )
    at = rows // 5 * (seed % 5)
    frame.loc[at : at + rows // 5 - 1, "noise"] = own.normal(size=rows // 5)
    frame.loc[own.choice(rows, 100, replace=False), "cell"] = 1000 + seed
    return frame


def tree_of(seed: int, folder: Path) -> dict[str, bytes]:
    """Writes 200 files, 20 of them the seed's own; returns what is in them."""
    made = {}
    for number in range(200):
        draw = np.random.default_rng([number, seed if number % 10 == 0 else 0])
        made[f"d{number % 7}/{number:03d}.bin"] = draw.bytes(int(draw.integers(0, 30_000)))
    for name, data in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)
    return made


class Doom:
    """Counts how often this process touches the store, and ends it at the ``last`` time."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.seen = 0
        self.folder = ""

    def step(self) -> None:
        self.seen += 1
        if self.seen == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder and event in TOUCHES and self.folder in str(arguments[0]):
            self.step()

    def listen(self) -> None:
        import sqlalchemy as sa

        sys.addaudithook(self.audit)
        sa.event.listen(sa.Engine, "before_cursor_execute", lambda *_: self.step())
        sa.event.listen(sa.Engine, "commit", lambda _: self.step())


def _serve() -> None:
    import nbmlops
    from nbmlops import session

    doom = Doom()
    doom.listen()
    _say("ready")
    while line := sys.stdin.readline():
        job = json.loads(line)
        session.reset()
        os.environ["NBMLOPS_STORE"] = job["store"]
        session.workspace()
        data = frame_of(job["seed"], job["rows"]) if "rows" in job else job["tree"]
        _say("made")
        sys.stdin.readline()
        doom.seen, doom.last, doom.folder = 0, job.get("die_at"), job["store"]
        version = nbmlops.snapshot(data, job["name"])
        doom.folder = ""
        _say(json.dumps({"version": version.version, "new": version.new, "digest": version.digest, "steps": doom.seen}))


def _say(line: str) -> None:
    print(line, flush=True)


class Writer:
    """The process, seen from outside."""

    def __init__(self) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, __file__], text=True, **pipes)
        self._ready = False

    def make(self, **job: Any) -> Writer:
        """Have the data made, and wait for that."""
        if not self._ready:
            assert self._read() == "ready"
            self._ready = True
        self._tell(json.dumps(job, default=str))
        assert self._read() == "made"
        return self

    def go(self) -> None:
        self._tell("go")

    def answer(self) -> dict[str, Any] | None:
        """What came of it; None if the process is dead, as it was told to be."""
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if line:
            return json.loads(line)
        assert self.process.wait() == -signal.SIGKILL, self.process.stderr.read()  # type: ignore[union-attr]
        return None

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _tell(self, line: str) -> None:
        self.process.stdin.write(line + "\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def _read(self) -> str:
        line = self.process.stdout.readline().strip()  # type: ignore[union-attr]
        assert line, self.process.stderr.read()  # type: ignore[union-attr]
        return line


if __name__ == "__main__":
    _serve()
