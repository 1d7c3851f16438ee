"""Verdicts and slices, held to the corpus; see ``corpus_cases`` for what it claims and how that is proved."""

from __future__ import annotations

from collections import Counter

import corpus_cases
import pytest

from nbmlops.notebook import verdict
from nbmlops.records.cells import VERDICTS

CASES = {name: corpus_cases.read(name) for name in corpus_cases.NAMES}
WITH_METRICS = [name for name, case in CASES.items() if case.metrics]


@pytest.fixture(scope="module")
def said():
    folder = str(corpus_cases.FOLDER)
    return {n: verdict.check(c.executions(), c.document, folder=folder, notebook=n) for n, c in CASES.items()}


def test_nothing_sick_is_called_strongly_valid(said):
    wrong = {n: CASES[n].verdict for n in CASES if said[n].verdict == "strongly valid" != CASES[n].verdict}
    assert wrong == {}


def test_few_of_the_healthy_are_called_invalid(said):
    healthy = [n for n, c in CASES.items() if c.verdict in corpus_cases.HEALTHY]
    wrong = {n: [f.what for f in said[n].findings] for n in healthy if said[n].verdict == "invalid"}
    assert len(wrong) <= 0.05 * len(healthy), wrong


def test_verdicts_are_those_that_are_right(said):
    wrong = {n: (CASES[n].verdict, said[n].verdict) for n in CASES if said[n].verdict != CASES[n].verdict}
    assert len(wrong) <= 0.05 * len(CASES), f"{table(said)}\n{wrong}"


def table(said):
    """How often each right verdict (rows) was called what (columns)."""
    count = Counter((CASES[n].verdict, said[n].verdict) for n in CASES)
    head = " " * 16 + "".join(f"{word:>16}" for word in VERDICTS)
    return "\n".join(
        [head, *(f"{row:16}" + "".join(f"{count[row, word]:16}" for word in VERDICTS) for row in VERDICTS)]
    )


def test_a_saved_notebook_without_a_journal_is_not_called_better_than_it_is():
    """Of the counts alone; what they cannot tell (a cell edited since, a name set by hand) is left out."""
    unseen = {n for n, c in CASES.items() if any(dict(c.code).get(i, s) != s for i, s in c.history) or c.namespace}
    told = {n: verdict.check_document(c.counted(), folder=str(corpus_cases.FOLDER)) for n, c in CASES.items()}
    wrong = [n for n in told if n not in unseen and told[n].verdict == "strongly valid" != CASES[n].verdict]
    assert wrong == []


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c.guilty])
def test_the_guilty_cell_is_named_with_what_is_wrong_and_how_to_mend_it(said, name):
    case, findings = CASES[name], said[name].findings
    if said[name].verdict != case.verdict:
        pytest.skip(f"called {said[name].verdict}; counted above")
    named = {label for f in findings if f.level == case.verdict for label in f.cells}
    assert named & case.labels(), [f.to_dict() for f in findings]
    assert {f.kind for f in findings} & set(case.kinds), [f.to_dict() for f in findings]
    assert all(f.what and f.mend for f in findings)


@pytest.mark.parametrize("name", WITH_METRICS)
def test_a_slice_keeps_what_it_needs_and_drops_the_rest(name):
    case = CASES[name]
    for metric in case.metrics:
        kept = {cell_id for cell_id, _ in case.slice(metric)}
        assert set(case.needed) <= kept
        assert not kept & set(case.dropped)
