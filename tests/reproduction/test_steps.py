"""From the journal to the notebook of a clean run, and why its cells fail."""

from __future__ import annotations

from typing import Any

import pytest

from nbmlops.records import CellExecution
from nbmlops.reproduction import failing, steps


def execution(number: int, cell: str | None, source: str, **more: Any) -> CellExecution:
    return CellExecution(f"e{number}", "s", number, source, cell, number, started_at=float(number), **more)


def document(*cells: tuple[str | None, str]) -> dict[str, Any]:
    kinds = [{"cell_type": "markdown", "id": "text", "source": "# a title"}]
    return {"cells": kinds + [{"cell_type": "code", **({"id": i} if i else {}), "source": s} for i, s in cells]}


RAN = [
    execution(1, "a", "n = 1"),
    execution(2, "gone", "m = 2"),
    execution(3, "c", "print(n)"),
    execution(4, "b", "n += 1"),
    execution(5, "a", "n = 10"),
]


def sources(found: steps.Steps) -> list[str]:
    return [step.execution.source for step in found.steps]


def test_the_cells_of_the_notebook_run_from_top_to_bottom_as_they_ran_last() -> None:
    found = steps.as_notebook(RAN, document(("a", "n = 10"), ("b", "edited since"), ("c", "print(n)"), ("never", "x")))
    assert sources(found) == ["n = 10", "n += 1", "print(n)"]
    assert [(e.label, why) for e, why in found.left_out] == [("[2]", "the notebook does not have it any more")]
    made = found.document({"kernelspec": {"name": "python3"}, "widgets": {}})
    assert [c["source"] for c in made["cells"]] == ["%load_ext nbmlops", *sources(found)]
    assert made["metadata"] == {"kernelspec": {"name": "python3"}}
    assert found.of("b").execution.number == 4


def test_the_journal_has_all_of_them_in_their_order() -> None:
    found = steps.in_order(RAN)
    assert sources(found) == [e.source for e in RAN]
    ids = [step.cell_id for step in found.steps]
    assert ids == ["a", "gone", "c", "b", "a-5"]


def test_a_cell_that_ran_after_the_notebook_was_saved_is_new_and_not_deleted() -> None:
    found = steps.as_notebook(RAN, document(("a", "n = 1"), ("b", ""), ("c", "")), saved_at=1.5)
    assert sources(found) == ["n = 10", "m = 2", "n += 1", "print(n)"]


def test_old_notebooks_have_no_ids_and_their_cells_are_known_by_their_text() -> None:
    found = steps.as_notebook(RAN[:4], document((None, "n = 1"), (None, "n += 1"), (None, "print(n)")))
    assert sources(found) == ["n = 1", "n += 1", "print(n)"]


def test_what_was_interrupted_is_left_out_and_what_raised_may_raise_again() -> None:
    ran = [
        execution(1, "a", "%load_ext nbmlops"),
        execution(2, "b", "while True: pass", status="interrupted"),
        execution(3, "c", "1 / 0", status="error", error={"name": "ZeroDivisionError", "message": "division by zero"}),
    ]
    found = steps.in_order(ran)
    made = found.document()
    assert [c["source"] for c in made["cells"]] == ["%load_ext nbmlops", "1 / 0"]
    assert made["cells"][1]["metadata"]["tags"] == ["raises-exception"]
    assert found.left_out[0][1] == "it was interrupted by hand, and nobody knows where"


CHANGED = [
    execution(1, "a", "n, k = 1, 2"),
    execution(2, "gone", "m = 2\ndf['ratio'] = 1"),
    execution(3, "a", "k = 2"),
    execution(4, "c", "def late(): pass"),
    execution(5, "b", "use"),
]
ORDER = document(("a", ""), ("b", ""), ("c", ""))


@pytest.mark.parametrize(
    ("name", "message", "told"),
    [
        ("NameError", "name 'm' is not defined", "[5] uses `m`, which a deleted cell [2] defined"),
        ("NameError", "name 'n' is not defined", "[5] uses `n`, which an earlier text of [3] defined"),
        (
            "NameError",
            "name 'late' is not defined",
            "[5] uses `late`, which [4], further down in the notebook, defined",
        ),
        ("NameError", "name 'who' is not defined", "[5] uses `who`, which no recorded cell defines"),
        ("KeyError", "'ratio'", "[5] needs `ratio`, which a deleted cell [2] made"),
        ("ModuleNotFoundError", "No module named 'x.y'", "[5] imports x.y, which is not installed here"),
        ("FileNotFoundError", "no", "[5] uses a file that is not there, or no longer as it was"),
        ("KernelDied", "", "the kernel died in [5]"),
        ("ValueError", "odd", "[5] did not raise ValueError when the run was made"),
    ],
)
def test_why_a_cell_fails(name: str, message: str, told: str) -> None:
    found = steps.as_notebook(CHANGED, ORDER)
    step = next(s for s in found.steps if s.cell_id == "b")
    assert failing.why(name, message, step, found, CHANGED) == told
