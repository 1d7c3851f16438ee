"""Judging versions: contracts, splits, equal rows, leakage between sets, suspicious labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nbmlops.datasets.catalogue import Reference
from nbmlops.datasets.keeping import Keeping, index_fields
from nbmlops.errors import InvalidValue, NotFound
from nbmlops.frames import stored
from nbmlops.records import ContractReport, DatasetVersion, Duplicates, LabelReport, Leakage

if TYPE_CHECKING:
    from nbmlops.frames.contracts import Contract


class Quality(Keeping):
    """What is wrong with the data, and dividing it."""

    def infer_contract(self, ref: Reference) -> Contract:
        """A contract that a version keeps, as a starting point: see ``frames.contracts``; ``.to_yaml()`` writes it."""
        from nbmlops.frames import contracts

        version, tables, index = self._tables(ref)
        return contracts.infer_contract(tables, version.name, index)

    def check(self, ref: Reference, contract: Any) -> ContractReport:
        """Hold a version to a contract: all violations at once, with examples. Nothing is raised for them.

        Args:
            ref: the version.
            contract: a YAML file, a dict, a pandera schema, or ``FILE.py:NAME`` (which runs that file).

        Raises:
            InvalidValue: the contract has faults; all are named.
        """
        from nbmlops.frames import contracts

        rules = contracts.load_contract(contract)
        version, tables, index = self._tables(ref)
        return contracts.check(rules, tables, subject=version.ref, index=index)

    def split(
        self,
        ref: Reference,
        parts: Mapping[str, float | int],
        *,
        by: str = "random",
        column: str | None = None,
        seed: int = 0,
        together: Sequence[str] = (),
        rare: str = "refuse",
    ) -> dict[str, DatasetVersion]:
        """Divide a version into parts that share no row, each a version of ``NAME-PART`` that remembers its parent.

        The same version, parts and seed give the same rows everywhere. A pandas frame's parts keep the index, so that
        each row says where it stood.

        Args:
            ref: the version to divide.
            parts: the share (0.8) or the number of rows of each part.
            by: ``random``, ``stratified`` (shares of ``column``'s classes stay), ``time`` (parts follow each other in
                ``column``) or ``group`` (rows with one value of ``column`` stay together).
            column: see ``by``.
            seed: for everything that is left to chance.
            together: by ``random``, columns whose equal values stay in one part.
            rare: ``refuse`` or ``spread`` classes with fewer rows than there are parts.

        Raises:
            InvalidValue: parts, column or values that make no sense; all faults are named.
        """
        from nbmlops.frames import splits

        version = self._frame(ref, "split")
        names = {part: f"{version.name}-{part}" for part in parts}
        manifest = self._manifest(version)
        needed = list(splits.needed(by, column, together))
        known = {n["field"] for n in manifest["frame"]["columns"]}
        if missing := [c for c in needed if c not in known]:
            raise NotFound.of("column", str(missing[0]), sorted(known))
        reader = stored.reader(self._store.blobs, manifest)
        rows = reader.table(needed) if needed else version.rows
        made = splits.assign(rows, parts, by=by, column=column, seed=seed, together=together, rare=rare)
        whole = self.load(version, as_=manifest["frame"]["engine"])
        return {
            part: self.snapshot(
                _taken(whole, made.rows[part]),
                names[part],
                f"{part} of {version.ref}, {by}" + (f" by {column}" if column else ""),
                source={"type": "split", **made.describe(part, version.ref, version.digest)},
            )
            for part in parts
        }

    def duplicates(self, ref: Reference, columns: Sequence[str] | None = None) -> Duplicates:
        """Rows that are there more than once, in all columns or in some."""
        from nbmlops.frames import rows

        version, tables, index = self._tables(ref)
        shown = [f["name"] for f in version.schema if f["name"] not in index]
        return rows.duplicates(tables, columns or shown, subject=version.ref)

    def leakage(
        self,
        train: Reference,
        other: Reference,
        *,
        label: str | None = None,
        columns: Sequence[str] | None = None,
        ignore: Sequence[str] = (),
    ) -> Leakage:
        """Rows of a training set that stand in another set too, and equal features with different labels."""
        from nbmlops.frames import rows

        (first, a, index), (second, b, more) = self._tables(train), self._tables(other)
        without = [*ignore, *index, *(c for c in more if c not in index)]
        return rows.leakage(a, b, columns=columns, label=label, ignore=without, names=(first.ref, second.ref))

    def labels(self, ref: Reference, label: str, features: Sequence[str] | None = None, **options: Any) -> LabelReport:
        """Rows whose label is probably wrong, by cross-validated confidence; see ``stats.labels``.

        Args:
            ref: the version.
            label: the column with the class.
            features: the columns to judge by; all others by default.
            options: fields of ``stats.labels.LabelCheck``: ``folds``, ``seed``, ``most``, ``estimator``.
        """
        from nbmlops.stats import labels

        version = self._frame(ref, "checked for labels")
        known = [f["name"] for f in version.schema]
        if label not in known:
            raise NotFound.of("column", label, known)
        frame = self.load(version, [*features, label] if features is not None else None)
        try:
            wishes = labels.LabelCheck(**options)
        except TypeError as error:
            raise InvalidValue(f"no such option: {error}", "options are folds, seed, most and estimator") from error
        return labels.suspect_labels(frame.drop(columns=label), frame[label], options=wishes, subject=version.ref)

    def _tables(self, ref: Reference) -> tuple[DatasetVersion, Iterator[pa.Table], list[str]]:
        """A version, its rows chunk by chunk, and which of their fields are levels of an index."""
        version = self._frame(ref, "checked")
        manifest = self._manifest(version)
        self._used(version.name, version.version, "read", self._context())
        return version, stored.reader(self._store.blobs, manifest).tables(), index_fields(manifest["frame"])


def _taken(frame: Any, rows: Any) -> Any:
    """Some rows of a pandas, polars or Arrow frame, in the order they stand."""
    if hasattr(frame, "iloc"):
        return frame.iloc[rows]
    return frame.take(rows) if isinstance(frame, pa.Table) else frame[rows]
