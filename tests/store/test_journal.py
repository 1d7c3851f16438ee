"""The journal file and the chunks: what goes in comes out, whatever it is and however it is cut."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbmlops.errors import BlobCorrupt
from nbmlops.store import journal, series
from nbmlops.store.journal import PARAM, Journal

keys = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=80)
entries = st.lists(
    st.one_of(
        st.tuples(st.just("point"), keys, st.floats(), st.integers(-(2**63), 2**63 - 1)),
        st.tuples(st.just("param"), keys, st.text(max_size=200), st.just(0)),
    ),
    max_size=60,
)


def _same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or a == b


@settings(max_examples=60, deadline=None)
@given(entries, st.integers(0, 4000))
def test_a_journal_gives_back_what_was_written_even_in_two_reads(log: list, cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = Journal(Path(folder), "RUN")
        for kind, key, value, step in log:
            if kind == "point":
                written.point(key, value, step, 1.5)
            else:
                written.texts(PARAM, [{"k": key, "v": value, "t": "str"}])
        written.close()
        whole = written.path.read_bytes()
        # A reader may come at any moment: first it sees a file that is cut somewhere, later the whole of it.
        written.path.write_bytes(whole[: min(cut, len(whole))])
        names: dict[int, str] = {}
        first = list(journal.read(written.path, 0, names))
        written.path.write_bytes(whole)
        start = first[-1].end if first else 0
        rest = list(journal.read(written.path, start, {}))  # another process: it must find the key names again
    got: dict[str, list] = {}
    params = []
    for batch in first + rest:
        params += [(p["k"], p["v"]) for p in batch.params]
        for key, (steps, _, values) in batch.points.items():
            got.setdefault(key, []).extend(zip(steps.tolist(), values.tolist()))
    assert params == [(k, v) for kind, k, v, _ in log if kind == "param"]
    wanted: dict[str, list] = {}
    for kind, key, value, step in log:
        if kind == "point":
            wanted.setdefault(key, []).append((step, value))
    assert got.keys() == wanted.keys()
    for key, points in wanted.items():
        assert all(a[0] == b[0] and _same(a[1], b[1]) for a, b in zip(got[key], points, strict=True))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.floats()), min_size=1, max_size=200))
def test_chunks_round_trip(points: list[tuple[int, float]]) -> None:
    steps = np.array([p[0] for p in points], np.int64)
    values = np.array([p[1] for p in points])
    times = np.arange(len(points), dtype=np.int64) * 17 + 1_700_000_000_000
    a, b, c = series.decode(series.encode(steps, times, values))
    assert (a == steps).all()
    assert (b == times).all()
    assert values.tobytes() == np.asarray(c, float).tobytes()


def test_a_long_series_needs_few_bytes_a_point() -> None:
    n = 10_000
    rng = np.random.default_rng(0)
    loss = np.round(np.exp(-np.arange(n) / 3000) + rng.normal(0, 0.01, n), 4)
    data = series.encode(np.arange(n), 1_700_000_000_000 + np.cumsum(rng.integers(8, 13, n)), loss)
    assert len(data) / n < 8


@pytest.mark.parametrize(
    "data",
    [b"", b"\x01", b"\x02\x00\x01\x00\x00\x00", b"\x01\x02\x05\x00\x00\x00garbage", b"\x01\x00\x05\x00\x00\x00short"],
)
def test_a_damaged_chunk_is_said(data: bytes) -> None:
    with pytest.raises(BlobCorrupt):
        series.decode(data)
