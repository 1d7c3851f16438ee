"""A kept folder as a read-only object: paths and sizes at once, contents when they are asked for."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from nbmlops.errors import InvalidValue, NotFound
from nbmlops.frames.folders.content import Entry, get_content
from nbmlops.frames.folders.labels import get_labels, get_table, paths_where
from nbmlops.frames.folders.manifest import suffixes
from nbmlops.frames.folders.walk import shortened
from nbmlops.frames.folders.writing import export, unsafe, write_file

if TYPE_CHECKING:
    import pandas as pd

    from nbmlops.store.blobs import Blobs

_SHOWN = 10
_COMPARED = 2000  # names that are compared for one that comes close: a few hundredths of a second


class FolderView:
    """The files of a version, by path: ``len``, iteration, ``in``, ``bytes``, ``open``, ``labels``, ``select``, ….

    Nothing is read before it is asked for, and every content is verified when it is read. A view can be pickled, so
    that the workers of a data loader or of Dask can read from it.
    """

    def __init__(
        self,
        blobs: Blobs,
        entries: Sequence[Entry],
        title: str,
        labels: Mapping[str, Any] | None = None,
        cache: Path | None = None,
    ) -> None:
        """A view; ``labels`` is what the manifest says of them, ``cache`` a folder where :meth:`local` keeps copies."""
        self._blobs = blobs
        self._entries = {e["path"]: e for e in entries}
        self._title = title
        self._labels = labels
        self._cache = cache

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, path: object) -> bool:
        return path in self._entries

    def __repr__(self) -> str:
        return f"<{self._title}: {len(self)} files>"

    def _repr_html_(self) -> str:
        total = sum(e["bytes"] for e in self._entries.values())
        shown = list(self._entries.values())[:_SHOWN]
        counts = suffixes(list(self._entries.values()))
        ends = ", ".join(f"{n:,} {ending or '(no ending)'}" for ending, n in list(counts.items())[:5])
        rows = "".join(
            f"<tr><td>{escape(ascii(e['path'])[1:-1] if not e['path'].isprintable() else e['path'])}</td>"
            f"<td style='text-align:right'>{e['bytes']:,}</td></tr>"
            for e in shown
        )
        more = f"<div>… and {len(self) - len(shown):,} more</div>" if len(self) > len(shown) else ""
        said = f", labels: {escape(', '.join(self._label_columns()))}" if self._labels else ""
        return (
            f"<div><b>{escape(self._title)}</b> {len(self):,} files, {total:,} bytes: {escape(ends)}{said}"
            f"<table><thead><tr><th>path</th><th>bytes</th></tr></thead><tbody>{rows}</tbody></table>{more}</div>"
        )

    # --- one file -----------------------------------------------------------------------------------------------
    def bytes(self, path: str) -> bytes:
        """The content of one file, verified."""
        return get_content(self._blobs, self._entry(path))

    def text(self, path: str, encoding: str = "utf-8") -> str:
        """The content of one file as text, line ends as they are.

        Raises:
            InvalidValue: it is not text in this encoding.
        """
        try:
            return self.bytes(path).decode(encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise InvalidValue(
                f"{path!r} is not {encoding} text: {error}", "name its encoding, or use bytes()"
            ) from error

    def open(self, path: str) -> BinaryIO:
        """One file as a seekable binary stream, verified."""
        entry = self._entry(path)
        return io.BytesIO(self.bytes(path)) if "pack" in entry else self._blobs.open(entry["digest"])

    def size(self, path: str) -> int:
        """The number of bytes of one file."""
        return int(self._entry(path)["bytes"])

    def digest(self, path: str) -> str:
        """The SHA-256 of one file, ``sha256:…``."""
        return str(self._entry(path)["digest"])

    def local(self, path: str, folder: Path | None = None) -> Path:
        """A real file with this content and ending, for libraries that want a path; read-only, verified each time.

        Args:
            path: a path of this view.
            folder: where the copy goes; by default a cache folder of the store. One content is copied once.

        Raises:
            InvalidValue: no folder was given and the store has none.
        """
        entry = self._entry(path)
        place = folder if folder is not None else self._cache
        if place is None:
            raise InvalidValue("this store is not a local folder", "say where the copy may go: local(path, folder)")
        if faults := unsafe([path]):
            raise InvalidValue.of(f"the list of files of {self._title}", faults, "nbmlops did not write this list")
        digest = entry["digest"].removeprefix("sha256:")
        target = Path(place) / digest[:2] / digest[2:] / path.rpartition("/")[2]
        if _is_copy(target, entry["digest"]):
            return target
        temporary = target.with_name(f"{target.name}.part")
        temporary.unlink(missing_ok=True)
        write_file(self._blobs, entry, temporary)
        temporary.chmod(0o444)
        temporary.replace(target)
        return target

    # --- many files ---------------------------------------------------------------------------------------------
    @property
    def labels(self) -> Any:
        """The label table as it was given (of a CSV or Parquet file and of ``"folders"`` a pandas frame), or None.

        A view of some of the files has the rows of those files.
        """
        if self._labels is None:
            return None
        frame = get_labels(self._blobs, self._labels)
        table = get_table(self._blobs, self._labels)
        keep = [path in self._entries for path in table.column(self._labels["column"]).to_pylist()]
        if all(keep):
            return frame
        return frame[keep] if self._labels["as"] == "pandas" else frame.filter(keep)

    def frame(self) -> pd.DataFrame:
        """One row per file, in path order: ``path``, ``bytes`` and the label columns; missing where there is no label.

        A file with several label rows has several rows here.
        """
        import pandas as pd

        paths = list(self._entries)
        frame = pd.DataFrame({"path": paths, "bytes": [self._entries[p]["bytes"] for p in paths]})
        if self._labels is None:
            return frame
        labels = get_labels(self._blobs, self._labels, "pandas")
        column = self._labels["column"]
        if column not in labels.columns:
            labels = (labels if column in labels.index.names else labels.rename_axis(column)).reset_index()
        said = labels.rename(columns={"bytes": "bytes_label", column: "path"})
        return frame.merge(said, on="path", how="left", sort=False)

    def glob(self, pattern: str) -> list[str]:
        """The paths that match: ``*`` and ``?`` stay within a name, ``**`` stands for any folders, ``*.jpg`` for names
        in any folder.
        """
        wanted = pattern.split("/")
        if len(wanted) == 1:
            return [p for p in self._entries if fnmatchcase(p.rpartition("/")[2], pattern)]
        return [p for p in self._entries if _matches(p.split("/"), wanted)]

    def select(self, paths: str | Iterable[str] | None = None, labels: Mapping[str, Any] | None = None) -> FolderView:
        """A view of some of the files.

        Args:
            paths: the paths wanted, or one pattern as for :meth:`glob`.
            labels: values of label columns, such as ``{"split": "train", "label": ["cat", "dog"]}``.

        Raises:
            NotFound: paths that are not there; all of them are named.
            InvalidValue: there are no labels, or no such label column.
        """
        chosen = set(self._entries)
        if paths is not None:
            asked = self.glob(paths) if isinstance(paths, str) else list(paths)
            if missing := [p for p in asked if p not in self._entries]:
                raise self._missing(missing)
            chosen = set(asked)
        if labels is not None:
            if self._labels is None:
                raise InvalidValue(
                    f"{self._title} has no labels", "choose by paths, or snapshot the folder with labels"
                )
            table = get_table(self._blobs, self._labels)
            chosen &= paths_where(table, self._labels["column"], labels)
        kept = [e for p, e in self._entries.items() if p in chosen]
        return FolderView(self._blobs, kept, self._title, self._labels, self._cache)

    def materialize(self, folder: Path | str) -> Path:
        """Write the files below a folder, each verified; nothing is overwritten.

        Raises:
            InvalidValue: files that exist already, or a list of files that is not safe; all of them are named.
        """
        export(self._blobs, list(self._entries.values()), Path(folder))
        return Path(folder)

    def _label_columns(self) -> list[str]:
        columns = (self._labels or {}).get("frame", {}).get("columns", [])
        return [str(n["field"]) for n in columns if n["field"] != (self._labels or {}).get("column")]

    def _entry(self, path: str) -> Entry:
        if path not in self._entries:
            raise self._missing([path])
        return self._entries[path]

    def _missing(self, paths: list[str]) -> NotFound:
        if len(paths) == 1:
            asked = str(paths[0])
            parent, _, name = asked.rpartition("/")
            near = (p for p in self._entries if p.rpartition("/")[0] == parent or p.endswith(name))
            likely = list(islice(near if len(self) > _COMPARED else self._entries, _COMPARED))
            return NotFound.of("file", asked, likely)
        return NotFound(f"{self._title} has no files {', '.join(shortened([repr(p) for p in paths]))}", "see glob()")


def _matches(parts: list[str], wanted: list[str]) -> bool:
    """Whether a path matches a pattern; both in parts. Linear in both but for ``**``, of which there are few."""
    reached = {0}
    for part in parts:
        following = set()
        for at in _past_stars(reached, wanted):
            if at < len(wanted):
                if wanted[at] == "**":
                    following.add(at)
                elif fnmatchcase(part, wanted[at]):
                    following.add(at + 1)
        reached = following
    return len(wanted) in _past_stars(reached, wanted)


def _past_stars(reached: set[int], wanted: list[str]) -> set[int]:
    """The places in a pattern, and those after a ``**`` that stands for no folder."""
    places = set(reached)
    for at in sorted(reached):
        while at < len(wanted) and wanted[at] == "**":
            at += 1
            places.add(at)
    return places


def _is_copy(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest
    except OSError:
        return False
