"""The time machine: earlier versions of cells and variables, and putting one back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from shells import emptied, started

from nbmlops import display, session
from nbmlops.cells import history
from nbmlops.errors import InvalidValue, NotFound, UsageFault
from nbmlops.records import CellExecution, CellTouch


class Played:
    """Executions as the journal gives them: ``ran("x = 1", cell="a", stored=["x"])``."""

    def __init__(self) -> None:
        self.done: list[CellExecution] = []
        self.session = "s1"

    def ran(self, source: str, cell: str | None = None, **facts: Any) -> Played:
        number = sum(e.session_id == self.session for e in self.done) + 1
        known = {"count": number, "started_at": float(len(self.done)), "seconds": 0.1, **facts}
        known["stored"] = tuple(known.get("stored", ()))
        execution = f"{self.session}-{number:08d}"
        self.done.append(CellExecution(execution, self.session, number, source, cell, **known))
        return self

    def again(self) -> Played:
        self.session = f"s{int(self.session[1:]) + 1}"
        return self


@pytest.fixture
def played() -> Played:
    shown = ({"output_type": "execute_result", "data": {"text/plain": "0.91"}},)
    printed = ({"output_type": "stream", "name": "stdout", "text": "epoch 1\nepoch 2\n"},)
    play = Played()
    play.ran("import numpy as np", "c0ffee11")
    play.ran("lr = 0.1\nscore = fit(lr)\nscore", "abc12345", stored=["lr", "score"], outputs=shown)
    play.ran("lr = 0.1\nscore = fit(lr)\nscore", "abc12345", stored=["lr", "score"], outputs=printed)
    play.ran(
        "lr = 0.2\nscore = fit(lr)\nscore",
        "abc12345",
        stored=["lr", "score"],
        touched=(CellTouch("run", "R1"), CellTouch("metric", "R1", "auc")),
    )
    play.ran("score = 0", "d00d0000", stored=["score"])
    play.ran(
        "lr = 0.1\nscore = fit(lr)\nscore",
        "abc12345",
        stored=["lr", "score"],
        status="error",
        error={"name": "ValueError", "message": "no\nmore"},
    )
    return play  # fmt: skip


def test_versions_of_a_cell_in_a_row_are_one_and_come_with_what_they_gave(played: Played) -> None:
    one, two, three = history.versions_of_cell(played.done, "[6]")
    assert [v.ref for v in (one, two, three)] == ["6@1", "6@2", "6@3"]
    assert [v.times for v in (one, two, three)] == [2, 1, 1]
    assert (one.result, one.label, one.status) == ("epoch 2", "[3]", "ok")
    assert two.change == "-lr = 0.1\n+lr = 0.2"
    assert (two.runs, two.metrics) == (("R1",), ("auc",))
    assert (three.status, three.result) == ("error", "ValueError: no …")


@pytest.mark.parametrize("text", ["6", "[6]", "4", "[2]", "#3", "abc123", "abc12345", "abc"])
def test_a_cell_is_found_by_each_of_its_names(played: Played, text: str) -> None:
    assert len(history.versions_of_cell(played.done, text)) == 3


def test_versions_of_a_variable_are_the_cells_that_assigned_it(played: Played) -> None:
    found = history.versions_of_name(played.done, "score")
    assert [v.label for v in found] == ["[3]", "[4]", "[5]", "[6]"]
    assert found[2].source == "score = 0"
    assert history.versions_of_name(played.done, "np") == []
    assert history.find(played.done, "score").kind == "variable"
    assert history.find(played.done, "6").kind == "cell"


def test_one_version_is_picked(played: Played) -> None:
    assert history.pick(played.done, "[6]@2").source.startswith("lr = 0.2")
    assert history.pick(played.done, "abc123@1").source.startswith("lr = 0.1")
    assert history.pick(played.done, "score@3").source == "score = 0"
    assert history.pick(played.done, "6").version == 3, "the latest"
    with pytest.raises(NotFound, match="no version 9"):
        history.pick(played.done, "6@9")
    with pytest.raises(NotFound, match="'scores'") as caught:
        history.pick(played.done, "scores@1")
    assert "score" in caught.value.hint
    for empty in ("", "  "):
        with pytest.raises((InvalidValue, NotFound)):
            history.pick(played.done, empty)
    with pytest.raises(NotFound, match="no cell or variable"):
        history.pick([], "3@1")


def test_a_terminal_has_no_cells_each_input_is_one() -> None:
    play = Played().ran("x = 1", stored=["x"]).ran("x = 2", stored=["x"])
    assert len(history.versions_of_cell(play.done, "[2]")) == 1
    assert [v.source for v in history.versions_of_name(play.done, "x")] == ["x = 1", "x = 2"]


def test_ids_that_begin_alike_are_told_apart() -> None:
    uri = "vscode-notebook-cell:/home/a/n.ipynb#W"
    play = Played().ran("a", f"{uri}0sZmlsZQ1").ran("b", f"{uri}0sZmlsZQ2").again().ran("c", "other678")
    names = list(history.cell_names(play.done).values())
    assert names == ["W0sZmlsZQ1", "W0sZmlsZQ2", "1"]
    assert history.pick(play.done, "W0sZmlsZQ2").source == "b"
    with pytest.raises(NotFound, match="2 cells"):
        history.pick(play.done, "W0s")


def test_yesterdays_version_of_a_cell_is_there_today(played: Played) -> None:
    played.again().ran("lr = 0.9", "abc12345", stored=["lr"]).ran("%mlops history lr", "f00dface")
    found = history.find(played.done, "1").versions
    assert [v.earlier for v in found] == [True, True, True, False]
    assert history.pick(played.done, "1@2").source.startswith("lr = 0.2")
    assert history.pick(played.done, "d00d00").source == "score = 0", "its number was of yesterday"
    with pytest.raises(NotFound):
        history.pick(played.done, "5")


def test_the_last_cells_without_those_that_only_looked(played: Played) -> None:
    played.ran("%mlops history", "f00dface").ran("  ", "eeeeeeee").ran("%mlops restore 6@1\n", "f00dface")
    found = history.shown(played.done, most=2)
    assert [(v.ref, v.label) for v in found.versions] == [("5@1", "[5]"), ("6@3", "[6]")]
    assert found.more == 1
    assert history.shown(played.done, "6", 1).more == 2
    assert history.shown([]).versions == ()


def test_secrets_that_were_masked_are_told() -> None:
    play = Played().ran('key = "(hidden)"', "aaaaaaaa").ran("key = '[secret env:API]'", "aaaaaaaa").ran("k", "bbbbbbbb")
    one, two = history.versions_of_cell(play.done, "aaaaaaaa")
    assert one.masked
    assert two.masked
    assert "replace the mask" in history.restored(two)
    assert "mask" not in history.restored(history.pick(play.done, "3"))


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ((), ""),
        (({"output_type": "display_data", "data": {"image/png": "…", "text/plain": "<Figure>"}},), "(figure)"),
        (({"output_type": "execute_result", "data": {"text/plain": ["a\n", "b"]}},), "a …"),
        (({"output_type": "execute_result", "data": {"text/plain": {"digest": "d", "bytes": 9}}},), "(9 bytes)"),
        (({"output_type": "stream", "text": "x" * 500},), "x" * 119 + "…"),
        (({"output_type": "stream", "text": ["a\n", "b\n"]},), "b"),
    ],
)
def test_a_short_text_of_what_a_cell_showed(outputs: tuple, expected: str) -> None:
    assert history.result(Played().ran("x", outputs=outputs).done[0]) == expected


def test_versions_show_themselves_and_nothing_in_them_is_markup(played: Played) -> None:
    played.ran("<script>x</script>", "abc12345")
    found = history.shown(played.done, "abc12345")
    text, html = display.text(found), display.html(found)
    assert "7@2" in text
    assert "+lr = 0.2" in text
    assert "<script>" not in html
    assert "7@4" in display.html(found.versions[-1])
    assert "nothing has run" in display.text(history.shown([]))


# --- in a shell ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def ipython() -> Any:
    return started()


@pytest.fixture
def shell(ipython: Any, nb: Any) -> Iterator[Callable[..., Any]]:
    """Run a cell, which may have an id as JupyterLab gives it."""
    session.workspace()
    emptied(ipython)
    ipython.run_line_magic("reload_ext", "nbmlops")  # other files may have left it loaded

    def run(code: str, cell_id: str | None = None) -> Any:
        done = ipython.run_cell(code, store_history=True, cell_id=cell_id)
        done.raise_error()
        return done.result

    yield run
    session.reset()
    ipython.run_line_magic("unload_ext", "nbmlops")
    emptied(ipython)


def test_history_and_restore_in_a_shell(shell: Callable[..., Any], ipython: Any, capsys: Any) -> None:
    shell("base = 2", "aaaaaaaa")
    shell("rate = base * 0.1\nrate", "bbbbbbbb")
    shell("rate = base * 0.5\nrate", "bbbbbbbb")
    found = shell("%mlops history rate")
    assert [v.source.splitlines()[0] for v in found.versions] == ["rate = base * 0.1", "rate = base * 0.5"]
    assert [v.result for v in found.versions] == ["0.2", "1.0"]
    assert [v.ref for v in found.versions] == ["rate@1", "rate@2"]
    assert shell("%mlops history bbbbbbbb").versions[0].source == found.versions[0].source
    assert len(shell("%mlops history -n 1").versions) == 1
    capsys.readouterr()
    shell("%mlops restore rate@1")
    assert "rate@1 is in a new cell below" in capsys.readouterr().out
    assert ipython.rl_next_input == "rate = base * 0.1\nrate"
    ipython.rl_next_input = None
    with pytest.raises(NotFound):
        shell("%mlops restore rate@7")
    with pytest.raises(UsageFault):
        shell("%mlops restore")
    with pytest.raises(UsageFault):
        shell("%mlops history -n none")


def test_without_a_journal_it_says_so(shell: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBMLOPS_JOURNAL", "0")
    with pytest.raises(UsageFault, match="the journal of cells is off"):
        shell("%mlops history")


def test_an_earlier_session_of_the_same_notebook_is_looked_through(
    shell: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from nbmlops import extension
    from nbmlops.notebook import recorder

    monkeypatch.setenv("NBMLOPS_NOTEBOOK", str(tmp_path / "work.ipynb"))
    ip = recorder.current().shell
    for code in ("x = 'monday'", "x = 'tuesday'"):
        recorder.install(None)
        extension.listen(ip)
        shell(code, "cccccccc")
    found = shell("%mlops history cccccccc")
    assert [(v.source, v.earlier) for v in found.versions] == [("x = 'monday'", True), ("x = 'tuesday'", False)]


def test_a_front_end_gets_the_source_for_a_new_cell(tmp_path: Any) -> None:
    """A real kernel: the payload that JupyterLab, the notebook and VS Code make a cell of."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    try:
        cells = ("%load_ext nbmlops\n%mlops experiment e", "y = 1", "y = 2", "%mlops restore y@1")
        replies = [client.execute_interactive(code, timeout=60, output_hook=lambda _: None) for code in cells]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert [r["content"]["status"] for r in replies] == ["ok"] * 4
    (payload,) = replies[-1]["content"]["payload"]
    assert (payload["source"], payload["text"], payload["replace"]) == ("set_next_input", "y = 1", False)
