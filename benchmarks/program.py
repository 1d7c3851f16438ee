"""The command line of a benchmark that compares nbmlops with one peer, part by part."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from benchmarks.measure import HERE, Rounds, Row, Side, print_table


class Turned(Protocol):
    """The sizes of a benchmark: whatever it needs, and how many turns its medians are of."""

    @property
    def turns(self) -> int: ...


S = TypeVar("S", bound=Turned)


@dataclass(frozen=True)
class Benchmark(Generic[S]):
    """What is measured (``parts``), by which files of jobs, beside whom.

    ``peer`` is the name that the peer is installed as, ``called`` the one it is known by, ``needs`` what its jobs
    import besides.
    """

    name: str
    about: str
    jobs: str
    peer: str
    peer_jobs: str
    full: S
    quick: S
    parts: Sequence[Callable[[Rounds, S], list[Row]]]
    called: str = ""
    needs: tuple[str, ...] = ()

    def main(self, arguments: list[str] | None = None) -> int:
        """Measure, print the table; 0 if everything ran, whatever it cost."""
        options = self._parser().parse_args(arguments)
        called = self.called or self.peer
        peer = Side(self.peer, options.peer_python, HERE / self.peer_jobs, needs=self.needs)
        found = peer.installed()
        sizes = self.quick if options.quick else self.full
        rows: list[Row] = []
        with tempfile.TemporaryDirectory(prefix="nbmlops-bench-", ignore_cleanup_errors=True) as folder:
            ours = Side("nbmlops", sys.executable, HERE / self.jobs)
            compare = Rounds(ours, peer if found else None, sizes.turns, Path(folder))
            for part in self.parts:
                if options.only in {None, part.__name__}:
                    print(f"… {part.__name__}", file=sys.stderr, flush=True)
                    rows += part(compare, sizes)
        label = f"{called} {peer.version()}" if found else ""
        print_table(rows, label)
        if not found:
            print(f"\nskipped: {called} is not installed here (--peer-python PATH names an interpreter with it)")
        load = os.getloadavg()[0]
        print(f"\nmedians of {sizes.turns} turns; load average {load:.1f} on {os.cpu_count()} processors")
        if options.json:
            told = {"peer": label, "turns": sizes.turns, "load": load, "rows": [asdict(row) for row in rows]}
            options.json.write_text(json.dumps(told, indent=1))
        return 0

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=self.about)
        where = f"the interpreter that {self.called or self.peer} is installed in"
        parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
        parser.add_argument("--peer-python", default=sys.executable, help=where)
        parser.add_argument("--only", choices=[part.__name__ for part in self.parts], help="one part only")
        parser.add_argument("--json", type=Path, help="a file that gets the numbers too")
        return parser
