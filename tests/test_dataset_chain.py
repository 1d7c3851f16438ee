"""Thirty edits, one version each: all of them come back bit for bit, and are named as if they had been kept alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nbmlops.context import Context, hostname
from nbmlops.frames import arrow, digest
from nbmlops.frames.chunks import cuts, patches
from nbmlops.store import gc, open_store
from nbmlops.workspace import Workspace

EDITS = 30


def start(rows: int = 6000) -> pd.DataFrame:
    r = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "x": np.where(r.random(rows) < 0.1, np.nan, r.normal(size=rows)),
            "n": pd.array(r.integers(0, 9, rows), dtype="Int16"),
            "c": pd.Categorical(r.choice(["a", "b", "c"], rows)),
            "s": r.choice(["", "one", "two", "drei", None], rows),
            "t": pd.date_range("2024", periods=rows, freq="min", tz="Europe/Berlin").as_unit("s"),
        }
    )


def edited(frame: pd.DataFrame, r: np.random.Generator, earlier: list[pd.DataFrame]) -> pd.DataFrame:
    """One random edit of those that people make."""
    frame, rows = frame.copy(), len(frame)
    at = int(r.integers(0, rows))
    match r.choice(["cells", "append", "insert", "delete", "add", "drop", "rename", "retype", "move", "code", "back"]):
        case "cells":
            frame.loc[r.integers(0, rows, 40), "x"] = r.choice([-0.0, 0.0, np.nan, 7.5])
        case "append":
            frame = pd.concat([frame, frame.iloc[: int(r.integers(1, 900))]], ignore_index=True)
        case "insert":
            frame = pd.concat([frame.iloc[:at], frame.iloc[at : at + 70], frame.iloc[at:]], ignore_index=True)
        case "delete":
            frame = frame.drop(index=range(at, min(rows, at + 300))).reset_index(drop=True)
        case "add":
            frame[f"new{len(frame.columns)}"] = r.normal(size=rows).astype("float32")
        case "drop" if len(frame.columns) > 6:
            frame = frame.drop(columns=frame.columns[-1])
        case "rename":
            frame = frame.rename(columns={frame.columns[0]: f"id{int(r.integers(0, 99))}"})
        case "retype":
            frame["n"] = frame["n"].astype("Int32" if frame["n"].dtype == "Int16" else "Int16")
        case "move":
            frame = pd.concat([frame.iloc[at:], frame.iloc[:at]], ignore_index=True)
        case "code":
            frame["c"] = frame["c"].cat.set_categories(list(r.permutation(["a", "b", "c", "unused"])))
        case _:
            frame = earlier[int(r.integers(0, len(earlier)))]
    return frame


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_thirty_edits(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(cuts, "ROWS", 256)
    monkeypatch.setattr(patches, "ROWS", 64)
    monkeypatch.setattr(digest, "BLOCK", 512)
    ws = Workspace(open_store(tmp_path / "store"), lambda: Context(user="tester", host=hostname()))
    r, frames = np.random.default_rng(seed), [start()]
    kept = {ws.datasets.snapshot(frames[0], "chain").version: frames[0]}
    patched = False
    for _ in range(EDITS):
        frames.append(edited(frames[-1], r, frames))
        made = ws.datasets.snapshot(frames[-1], "chain")
        kept[made.version] = frames[-1]
        patched |= '"patches"' in ws.store.blobs.get(made.manifest).decode()
    assert patched, "some edits are small enough for patches"
    assert len(kept) > EDITS / 2
    gc.collect(ws.store, grace=-60.0, delete=True)
    for version, frame in kept.items():
        back = ws.datasets.load(f"chain@{version}")
        pd.testing.assert_frame_equal(back, frame, check_exact=True)
        assert np.array_equal(np.signbit(back["x"]), np.signbit(frame["x"])), "the sign of zero"
        packed = arrow.pack(frame)
        assert ws.datasets.get(f"chain@{version}").digest == digest.table_digest(packed.table, packed.manifest)[0]
    assert all(f.ok for f in ws.datasets.verify())
    ws.store.close()
