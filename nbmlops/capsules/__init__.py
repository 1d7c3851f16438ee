"""The capsules desk: a run as one file, and such files taken over."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbmlops import clock
from nbmlops.capsules import belonging
from nbmlops.capsules.collecting import collect
from nbmlops.capsules.opening import Capsule, Limits
from nbmlops.cells import Cells
from nbmlops.context import ContextSource
from nbmlops.errors import InvalidValue, UsageFault
from nbmlops.records import CapsuleReport, Merged
from nbmlops.runs import Runs
from nbmlops.store import Store, ledger
from nbmlops.store.merging import merge_rows

__all__ = ["Capsule", "Capsules", "Limits"]

_MOST_TOLD = 20


class Capsules:
    """Runs as files that another store takes over, with what they made, used and ran in."""

    def __init__(self, store: Store, context: ContextSource, runs: Runs, cells: Cells) -> None:
        self.store = store
        self.context = context
        self.runs = runs
        self.cells = cells

    def export(
        self, ref: str, file: str | os.PathLike[str], *, data: bool = False, force: bool = False
    ) -> CapsuleReport:
        """Write a run and its nested runs as one zip file, and a ledger event about it.

        Args:
            ref: the run.
            file: where it goes; its folder exists.
            data: with the data of the data sets, not only what describes them.
            force: write over a file that exists.

        Raises:
            NotFound: no such run; or the data are asked for and are not here.
            UsageFault: the file exists, the run has not ended, or it is more than a capsule holds.
            StoreFault: the file cannot be written, or a stored object is damaged.
        """
        from nbmlops.capsules.writing import index, lay_out, refuse_existing, write

        target = Path(file).expanduser()
        refuse_existing(target, force)
        run = self.runs.get(ref)
        self.cells.fold()
        found = collect(self.store, run.run_id, data=data)
        layout = lay_out(self.store, found, run, runs=self.runs, cells=self.cells)
        about = index(layout, found)
        _refuse_excess(about)
        size = write(layout, about, target, force=force)
        told = {"content": about["content"], "file": target.name, "data": data, "without_data": found.without_data}
        return CapsuleReport(
            "exported",
            str(file),
            about["content"],
            run.run_id,
            run.name,
            about["inside"],
            len(about["files"]) + 1,
            size,
            tuple(found.without_data),
            event=self._tell("run.exported", run.run_id, told),
            at=clock.now(),
        )

    def inspect(self, file: str | os.PathLike[str], *, limits: Limits | None = None) -> CapsuleReport:
        """Check everything in a capsule, and tell what is in it; nothing is taken over.

        Raises:
            NotFound: there is no such file.
            InvalidValue: it is no sound capsule; names the entry and what is wrong with it.
        """
        with Capsule(file, limits=limits) as capsule:
            return _report("inspected", file, capsule)

    def import_(
        self, file: str | os.PathLike[str], *, dry_run: bool = False, limits: Limits | None = None
    ) -> CapsuleReport:
        """Take over what is in a capsule, any number of times, without duplicates; see :func:`merge_rows`.

        Everything in it is checked first. Versions whose number is taken here get the next free one. Of its events
        nothing is taken over: the ledger here tells only that the capsule came.

        Args:
            file: the capsule.
            dry_run: only tell what would come.
            limits: the most that is read.

        Raises:
            NotFound: there is no such file.
            InvalidValue: it is no sound capsule, or its rows are none of a run; nothing was written.
        """
        from nbmlops.capsules.proving import lies

        user = self.context().user
        with Capsule(file, limits=limits) as capsule:
            origin = f"capsule {capsule.content[:12]}… ({Path(file).name})"
            if wrong := belonging.claims(self.store, capsule.rows):
                hint = "nothing was taken over; a whole store is taken over with `nbmlops store merge`"
                raise InvalidValue.of(f"{Path(file).name}: rows", wrong[:_MOST_TOLD], hint)
            if wrong := lies(self.store, capsule, self.context):
                raise InvalidValue.of(f"{Path(file).name}: data", wrong, "nothing was taken over; ask for it anew")
            runs = belonging.new_runs(self.store, capsule.rows)
            merged = merge_rows(self.store, capsule.rows, blobs=capsule, origin=origin, user=user, dry_run=dry_run)
            done = "would import" if dry_run else "imported"
            if not _came(merged):
                return _report("nothing new", file, capsule, merged)
            event = None
            if not dry_run:
                told = {"content": capsule.content, "added": merged.added, "updated": merged.updated, "runs": runs}
                event = self._tell(belonging.IMPORTED, capsule.index["run"], told)
            return _report(done, file, capsule, merged, event)

    def _tell(self, type_: str, run_id: str, data: dict[str, Any]) -> int:
        with self.store.write() as db:
            return ledger.append(db, type=type_, subject=f"run:{run_id}", user=self.context().user, data=data).seq


def _came(merged: Merged) -> bool:
    return bool(merged.added or merged.updated or merged.blobs)


def _report(
    done: str, file: Any, capsule: Capsule, merged: Merged | None = None, event: int | None = None
) -> CapsuleReport:
    without: Sequence[str] = capsule.index["without_data"]
    return CapsuleReport(
        done,
        str(file),
        capsule.content,
        capsule.index["run"],
        capsule.run["name"],
        capsule.index["inside"],
        len(capsule.index["files"]) + 1,
        capsule.total,
        tuple(without),
        merged,
        event,
        clock.now(),
    )


def _refuse_excess(about: dict[str, Any]) -> None:
    """What could not be opened is not written."""
    most, files = Limits(), about["files"]
    size = sum(facts["size"] for facts in files.values())
    if len(files) >= most.entries or size > most.bytes:
        raise UsageFault(
            f"a capsule of this run has {len(files):,} files and {size:,} bytes; it may have {most.entries:,} and"
            f" {most.bytes:,}",
            "leave out --data, or take over the whole store with `nbmlops store merge`",
        )
