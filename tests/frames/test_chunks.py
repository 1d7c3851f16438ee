"""Frames in chunks: what a version shares with the one before it, and that every version comes back."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbmlops.errors import BlobCorrupt, NotFound
from nbmlops.frames import digest
from nbmlops.frames.chunks import cuts, layout, patches, plain
from nbmlops.frames.chunks.reader import Reader
from nbmlops.frames.chunks.writer import Writer
from nbmlops.store.blobs import Blobs

ROWS = 4096  # of the smallest chunk in these tests


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(cuts, "ROWS", ROWS)
    monkeypatch.setattr(digest, "BLOCK", 2048)
    monkeypatch.setattr(patches, "ROWS", 64)


@pytest.fixture
def blobs(tmp_path):
    return Blobs(str(tmp_path / "blobs"))


def base(rows: int = 60_000, seed: int = 0) -> pa.Table:
    r = np.random.default_rng(seed)
    return pa.table(
        {
            "id": np.arange(rows) + seed * 10**9,
            "x": pa.array(r.normal(size=rows), mask=r.random(rows) < 0.05),
            "y": r.normal(size=rows),
            "s": pa.array(np.char.add("user ", r.integers(0, 10**6, rows).astype("U8"))).cast(pa.string()),
            "n": r.integers(0, 9, rows).astype("int16"),
            "b": r.random(rows) < 0.5,
        }
    )


def keep(blobs: Blobs, table: pa.Table, before: Reader | None = None, piece: int | None = None) -> Reader:
    """One version, from the table in one or from pieces of so many rows; through JSON, as the manifest goes."""
    writer = Writer(blobs, table.schema, before)
    for start in range(0, max(1, table.num_rows), piece or max(1, table.num_rows)):
        writer.add(table.slice(start, piece))
    made, columns = writer.finish()
    assert columns == digest.table_digest(table)[1]
    text = json.dumps({"format": layout.FORMAT, **made.to_json()})
    return Reader(blobs, layout.from_json(json.loads(text)), table.schema)


def written(blobs: Blobs, of: Reader) -> set[str]:
    return set(of.layout.sizes)


def new_bytes(before: Reader, after: Reader) -> int:
    return sum(size for file, size in after.layout.sizes.items() if file not in before.layout.sizes)


def edited(table: pa.Table, column: str, rows: np.ndarray) -> pa.Table:
    values = table.column(column).to_numpy(zero_copy_only=False).copy()
    values[rows] = values[rows] + 1
    return table.set_column(table.column_names.index(column), column, pa.array(values))


def insert(table: pa.Table, at: int, rows: int) -> pa.Table:
    return pa.concat_tables([table.slice(0, at), base(rows, 7), table.slice(at)])


CHANGES = {
    "nothing": (lambda t: t, 0.0),
    "appended": (lambda t: pa.concat_tables([t, base(600, 3)]), 0.17),
    "inserted": (lambda t: insert(t, 30_000, 100), 0.2),
    "inserted first": (lambda t: insert(t, 0, 100), 0.2),
    "deleted": (lambda t: pa.concat_tables([t.slice(0, 20_000), t.slice(20_100)]), 0.2),
    "head deleted": (lambda t: t.slice(500), 0.2),
    "a block changed": (lambda t: pa.concat_tables([t.slice(0, 20_000), base(600, 5), t.slice(20_600)]), 0.2),
    "some cells": (lambda t: edited(t, "y", np.arange(0, 60_000, 1000)), 0.02),
    "renamed": (lambda t: t.rename_columns(["id", "x", "y", "other", "n", "b"]), 0.0),
    "reordered": (lambda t: t.select(["b", "n", "s", "y", "x", "id"]), 0.0),
    "dropped": (lambda t: t.drop_columns(["y"]), 0.0),
    "added": (lambda t: t.append_column("z", pa.array(np.arange(t.num_rows) % 7)), 0.05),
    "a telling column changed": (lambda t: edited(t, "id", np.arange(60_000)), 0.05),
    "chunks swapped": (lambda t: pa.concat_tables([t.slice(30_000), t.slice(0, 30_000)]), 0.5),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("piece", [None, 7_001], ids=["whole", "stream"])
def test_a_change_costs_what_it_changes(blobs, change, piece):
    table = base()
    first = keep(blobs, table)
    assert first.table().equals(table)
    assert 5 <= len(first.chunks) <= 15
    act, most = CHANGES[change]
    changed = act(table)
    second = keep(blobs, changed, first, piece)
    assert second.table().equals(changed.combine_chunks())
    assert new_bytes(first, second) <= most * new_bytes(Reader(blobs, layout.Layout((), {}), table.schema), first)
    third = keep(blobs, table, second, piece)
    assert third.table().equals(table)


def test_a_recomputed_column_and_moved_rows_at_once(blobs):
    table = base()
    first = keep(blobs, table)
    both = edited(insert(table, 10_000, 100), "id", np.arange(60_100))
    second = keep(blobs, both, first)
    assert second.table().equals(both.combine_chunks())
    assert new_bytes(first, second) < 0.3 * sum(first.layout.sizes.values())  # two chunks of eight, and the column


def test_a_stream_is_cut_like_the_whole(blobs):
    table = base()
    whole, stream = keep(blobs, table), keep(blobs, table, None, 1000)
    assert [c.rows for c in whole.chunks] == [c.rows for c in stream.chunks]
    assert written(blobs, whole) == written(blobs, stream)


def test_tables_come_one_a_chunk_and_all_of_them(blobs):
    reader = keep(blobs, table := base())
    found = list(reader.tables(["id", "s"]))
    assert [t.num_rows for t in found] == [c.rows for c in reader.chunks]
    assert pa.concat_tables(found).equals(table.select(["id", "s"]))


def test_a_short_tail_keeps_its_chunk(blobs):
    """The last chunk of a first version may be longer than others: it is no reason to cut it again."""
    table = base(2 * ROWS + 100)
    first = keep(blobs, table)
    assert [c.rows for c in first.chunks] == [table.num_rows]
    second = keep(blobs, edited(table, "y", np.arange(0, 8000, 900)), first)
    assert new_bytes(first, second) < 0.02 * sum(first.layout.sizes.values())


def test_patches_stay_few_and_become_one(blobs):
    table = base(20_000)
    before = keep(blobs, table)
    longest = 0
    for turn in range(12):
        table = edited(table, "y", np.arange(turn, 20_000, 1500))
        before = keep(blobs, table, before)
        assert before.table().equals(table)
        assert before.table(["y"]).equals(table.select(["y"]))
        longest = max(longest, *(len(c.pieces["y"].patches) for c in before.chunks))
    assert longest == patches.LONGEST


def test_many_changed_values_are_written_anew(blobs):
    table = base(20_000)
    first = keep(blobs, table)
    second = keep(blobs, edited(table, "y", np.arange(0, 20_000, 3)), first)
    assert not any(p.patches for c in second.chunks for p in c.pieces.values())


def test_chunks_spread_over_many_files_are_joined(blobs):
    table = base(9_000)
    before = keep(blobs, table)
    for i in range(30):
        table = table.append_column(f"c{i}", pa.array(np.arange(9_000) * (i + 2) % 97))
        before = keep(blobs, table, before)
    assert before.table().equals(table.combine_chunks())
    assert max(len({p.file for p in c.pieces.values()}) for c in before.chunks) <= 13


def test_repeated_small_inserts_leave_no_crumbs(blobs):
    table, r = base(30_000), np.random.default_rng(1)
    before = keep(blobs, table)
    for turn in range(25):
        table = pa.concat_tables(
            [table.slice(0, at := int(r.integers(0, table.num_rows))), base(7, turn + 20), table.slice(at)]
        )
        before = keep(blobs, table, before)
    assert before.table().equals(table.combine_chunks())
    assert len(before.chunks) <= 2 + 2 * table.num_rows // ROWS


@pytest.mark.parametrize("rows", [0, 1, 15, 17, ROWS, 2 * ROWS + 1])
def test_small_tables(blobs, rows):
    table = base(rows)
    first = keep(blobs, table)
    assert first.table().equals(table)
    grown = pa.concat_tables([table, base(3, 2)])
    assert keep(blobs, grown, first).table().equals(grown.combine_chunks())
    assert keep(blobs, table.slice(0, 0), first).table().num_rows == 0


def test_tables_without_a_telling_column(blobs):
    table = pa.table({"l": [[1], [2, 3]] * 10_000, "c": pa.array([True] * 20_000), "k": [5] * 20_000})
    first = keep(blobs, table)
    changed = pa.concat_tables([table.slice(0, 9_000), table.slice(9_001)])
    assert keep(blobs, changed, first).table().equals(changed.combine_chunks())


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["cells", "insert", "delete", "append", "column", "swap", "back"]),
        st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EDITS, st.integers(500, 20_000))
def test_any_chain_of_edits(blobs, edits, piece):
    states = [base(15_000)]
    readers = [keep(blobs, states[0])]
    for what, seed in edits:
        r, table = np.random.default_rng(seed), states[-1]
        at = int(r.integers(0, table.num_rows + 1))
        if what == "cells":
            table = edited(table, str(r.choice(["x", "y", "id", "n"])), r.integers(0, max(1, table.num_rows), 20))
        elif what in {"insert", "append"}:
            table = insert(table, table.num_rows if what == "append" else at, int(r.integers(1, 6000)))
        elif what == "delete":
            table = pa.concat_tables([table.slice(0, at), table.slice(at + int(r.integers(1, 6000)))])
        elif what == "column":
            table = table.set_column(2, "y", pa.array(r.normal(size=table.num_rows)))
        elif what == "swap":
            table = pa.concat_tables([table.slice(at), table.slice(0, at)])
        else:
            table = states[int(r.integers(0, len(states)))]
        if not table.num_rows:
            continue
        states.append(table.combine_chunks())
        readers.append(keep(blobs, states[-1], readers[-1], piece if seed % 2 else None))
    for table, reader in zip(states, readers, strict=True):
        assert digest.table_digest(reader.table()) == digest.table_digest(table)
        assert digest.table_digest(reader.table(["s", "y"])) == digest.table_digest(table.select(["s", "y"]))


def test_plain_files_hold_the_rows_in_order(blobs, tmp_path):
    import pyarrow.dataset

    table = base(20_000)
    first = keep(blobs, table)
    renamed = table.rename_columns(["id", "x", "y", "other", "n", "b"])
    for i, (changed, before) in enumerate(
        [(table, None), (edited(table, "y", np.arange(0, 20_000, 900)), first), (renamed, first)]
    ):
        reader = keep(blobs, changed, before)
        files = plain.files(blobs, reader, tmp_path / "views" / str(i))
        assert plain.files(blobs, reader, tmp_path / "views" / str(i)) == files
        assert pyarrow.dataset.dataset(files).to_table().equals(changed)
        assert pyarrow.dataset.dataset(str(tmp_path / "views" / str(i))).to_table().equals(changed)
        assert sum(p["rows"] for p in plain.parts(blobs, reader)) == 20_000


def test_damage_and_loss_are_told(blobs):
    table = base(20_000)
    reader = keep(blobs, table)
    second = keep(blobs, edited(table, "y", np.arange(0, 20_000, 900)), reader)
    for piece in second.chunks[0].pieces["y"].patches:
        from pathlib import Path

        path = Path(blobs.url(piece.file))
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    with pytest.raises(BlobCorrupt):
        Reader(blobs, second.layout, second.schema).table(["y"])
    assert Reader(blobs, second.layout, second.schema).table(["s"]).num_rows == 20_000
    path.unlink()
    with pytest.raises(NotFound):
        Reader(blobs, second.layout, second.schema).table()


def test_wide_rows_make_smaller_chunks():
    assert cuts.Limits.of(8) == cuts.Limits(ROWS, 2 * ROWS)
    assert cuts.Limits.of(1 << 20).most * (1 << 20) <= cuts.BYTES * 2


def test_values_are_cut_alike_whatever_their_layout():
    words = pa.array(["", "a", None, "eight by", "longer than eight", "ünï"] * 2000)
    same = [words, words.cast(pa.large_string()), pa.concat_arrays([pa.array(["x"]), words]).slice(1)]
    prints = {cuts.fingerprint(pa.chunked_array([w]), 700) for w in same}
    assert len(prints) == 1
    numbers = pa.array([1, None, 3] * 2000)
    garbage = pa.concat_arrays([pa.array([9]), numbers]).slice(1)
    assert cuts.fingerprint(pa.chunked_array([numbers]), 50) == cuts.fingerprint(pa.chunked_array([garbage]), 50)


def test_a_stream_of_chunks_far_smaller_than_digest_blocks(blobs, monkeypatch):
    monkeypatch.setattr(cuts, "ROWS", 256)
    monkeypatch.setattr(digest, "BLOCK", 1 << 14)
    table = base(40_000)
    first = keep(blobs, table, piece=700)
    assert first.table().equals(table)
    more = edited(table, "y", np.array([20_000]))
    assert keep(blobs, more, first, piece=900).table().equals(more)
