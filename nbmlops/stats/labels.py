"""Suspected label errors of classification data, by confident learning.

C. G. Northcutt, L. Jiang, I. L. Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels. Journal of
Artificial Intelligence Research 70 (2021), 1373-1411. A model is trained on all folds but one and asked about that one,
so that no row is judged by a model that has seen its label. A row counts as confidently of class ``j`` if its
probability of ``j`` reaches the mean that rows labelled ``j`` have (the class's threshold; equation 2), of several such
classes the likeliest. The counts of given and confident classes, calibrated to the number of rows of each class
(equation 3), estimate how many rows labelled ``i`` are of class ``j``; that many are suspected, those first whose
probability of ``j`` exceeds that of ``i`` the most (prune by noise rate, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nbmlops.errors import InvalidValue
from nbmlops.records import LabelReport

if TYPE_CHECKING:
    import pandas as pd

MOST_CLASSES = 1000
FEWEST = 20  # rows below which nothing can be said


@dataclass(frozen=True)
class LabelCheck:
    """How labels are judged.

    Beyond ``most`` rows a sample is examined. ``estimator`` is any scikit-learn classifier with ``predict_proba``; by
    default one is chosen by the columns.
    """

    folds: int = 5
    seed: int = 0
    most: int = 100_000
    estimator: Any = None


def suspect_labels(
    features: pd.DataFrame | None,
    labels: pd.Series,
    *,
    probabilities: Any = None,
    classes: Sequence[Any] | None = None,
    options: LabelCheck | None = None,
    subject: str = "",
) -> LabelReport:
    """Find rows whose label is probably wrong.

    Args:
        features: numbers, categories, dates and texts, a row for each label; None where probabilities are given.
        labels: the given classes; rows without one are not examined.
        probabilities: out-of-fold predicted probabilities, shape (rows, classes), instead of training a model here.
        classes: what the columns of ``probabilities`` mean.
        options: folds, seed, sample size and estimator.
        subject: what the data are called.

    Raises:
        InvalidValue: too few rows or classes, too many classes, or probabilities of another shape: all at once.
    """
    options = options or LabelCheck()
    work = _Work(labels, options)
    if probabilities is not None:
        given = work.given(probabilities, classes)
        model = "probabilities given"
    else:
        if features is None or len(features) != len(labels):
            raise InvalidValue("features and labels differ in length", "give a row of features for each label")
        given, model = work.predicted(features)
    return work.report(given, model, subject)


class _Work:
    """One examination: which rows, which classes, and what is to be said about both."""

    def __init__(self, labels: pd.Series, options: LabelCheck) -> None:
        import pandas as pd

        self.options, self.name, self.rows = options, str(labels.name or "label"), len(labels)
        self.notes: list[str] = []
        codes, values = pd.factorize(labels, sort=False)
        self.fault(codes, len(values))
        counts = np.bincount(codes[codes >= 0], minlength=len(values))
        few = np.flatnonzero(counts < options.folds)
        names = [str(values[i])[:40] for i in few[:5]]
        if missing := int((codes < 0).sum()):
            self.notes.append(f"{missing:,} rows have no label and were not examined")
        if len(few):
            shown = ", ".join(names) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
            self.notes.append(f"{len(few)} classes have fewer than {options.folds} rows and were not judged: {shown}")
        kept = np.flatnonzero((codes >= 0) & ~np.isin(codes, few))
        if len(kept) > options.most:
            self.notes.append(f"a sample of {options.most:,} of {len(kept):,} rows was examined")
            kept = np.sort(np.random.default_rng(options.seed).choice(kept, options.most, replace=False))
        self.kept = kept
        present = np.unique(codes[kept])
        if len(present) < 2:
            raise InvalidValue(
                f"column {self.name!r} has {len(present)} classes with at least {options.folds} rows",
                "a classification has two or more; take more rows, or fewer folds",
            )
        self.y = np.searchsorted(present, codes[kept])
        self.values = [_plain(values[i]) for i in present]

    def fault(self, codes: np.ndarray, classes: int) -> None:
        """Refuse what is no classification."""
        faults = []
        labelled = int((codes >= 0).sum())
        if labelled < FEWEST:
            faults.append(f"{labelled} rows have a label, and {FEWEST} are needed")
        elif classes > min(MOST_CLASSES, labelled // 2):
            faults.append(
                f"column {self.name!r} has {classes:,} distinct values in {labelled:,} rows: too many classes"
            )
        if self.options.folds < 2:
            faults.append(f"folds is {self.options.folds}, and at least 2 are needed")
        if faults:
            raise InvalidValue.of("labels", faults, "name a column of classes, each with several rows")

    def given(self, probabilities: Any, classes: Sequence[Any] | None) -> np.ndarray:
        """The probabilities of the rows examined, with columns in the order of the classes here."""
        found = np.asarray(probabilities, dtype=np.float64)
        places = {_plain(c): i for i, c in enumerate(classes or ())}
        faults = []
        if found.ndim != 2 or len(found) != self.rows:
            faults.append(f"they have the shape {found.shape}, and ({self.rows}, classes) is needed")
        elif found.shape[1] != len(places):
            faults.append(f"they have {found.shape[1]} columns for {len(places)} classes")
        elif not (np.isfinite(found).all() and (found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=0.01)):
            faults.append("not every row is a list of probabilities that sum to 1")
        if unknown := [v for v in self.values if v not in places]:
            faults.append(f"classes lacks {', '.join(map(repr, unknown[:5]))}")
        if faults:
            raise InvalidValue.of("probabilities", faults, "give predict_proba's result and the estimator's classes_")
        return found[self.kept][:, [places[v] for v in self.values]]

    def predicted(self, features: pd.DataFrame) -> tuple[np.ndarray, str]:
        """Out-of-fold probabilities, and the model they are from."""
        from sklearn.base import clone
        from sklearn.model_selection import StratifiedKFold

        options = self.options
        part = features.iloc[self.kept].reset_index(drop=True)
        if options.estimator is None:
            from nbmlops.stats.classifier import choose

            part, estimator, model, notes = choose(part, options.seed)
            self.notes += notes
        else:
            estimator, model = options.estimator, type(options.estimator).__name__
        folds = StratifiedKFold(options.folds, shuffle=True, random_state=options.seed)
        found = np.zeros((len(part), len(self.values)))
        for train, test in folds.split(np.zeros(len(part)), self.y):
            fitted = clone(estimator).fit(part.iloc[train], self.y[train])
            found[np.ix_(test, fitted.classes_)] = fitted.predict_proba(part.iloc[test])
        return found, model

    def report(self, p: np.ndarray, model: str, subject: str) -> LabelReport:
        joint = confident_joint(self.y, p)
        picked = prune(self.y, p, joint)
        counts = np.bincount(self.y, minlength=len(self.values))
        noise = 1 - np.diag(joint) / counts
        suspected = np.zeros_like(counts)
        np.add.at(suspected, [self.y[row] for row, _ in picked], 1)
        return LabelReport(
            subject,
            self.name,
            rows=self.rows,
            examined=len(self.y),
            folds=self.options.folds,
            accuracy=float((p.argmax(axis=1) == self.y).mean()),
            noise=float((joint.sum() - np.trace(joint)) / joint.sum()),
            suspects=tuple(
                {
                    "row": int(self.kept[row]),
                    "given": self.values[self.y[row]],
                    "suggested": self.values[other],
                    "confidence": float(p[row, other]),
                }
                for row, other in picked
            ),
            classes=tuple(
                {"label": v, "rows": int(n), "suspects": int(s), "noise": float(x)}
                for v, n, s, x in zip(self.values, counts, suspected, noise, strict=True)
            ),
            model=model,
            notes=tuple(self.notes),
        )


def confident_joint(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Estimated numbers of rows by given class (rows) and true class (columns); each row sums to its class's size."""
    k = p.shape[1]
    counts = np.bincount(y, minlength=k)
    own = p[np.arange(len(y)), y]
    thresholds = np.bincount(y, own, minlength=k) / np.maximum(counts, 1)
    above = p >= thresholds - 1e-12
    sure = above.any(axis=1)
    likeliest = np.where(above, p, -1.0).argmax(axis=1)
    joint = np.zeros((k, k))
    np.add.at(joint, (y[sure], likeliest[sure]), 1)
    empty = joint.sum(axis=1) == 0
    joint[empty, empty] = 1  # nothing is known: taken as right
    return joint / joint.sum(axis=1, keepdims=True) * counts[:, None]


def prune(y: np.ndarray, p: np.ndarray, joint: np.ndarray) -> list[tuple[int, int]]:
    """Suspected rows and the class suggested for each, the largest margin over the given class first."""
    own = p[np.arange(len(y)), y]
    best: dict[int, tuple[float, int]] = {}
    for i, j in np.argwhere(np.rint(joint) > 0):
        if i == j:
            continue
        rows = np.flatnonzero(y == i)
        margin = p[rows, j] - own[rows]
        for at in np.argsort(-margin, kind="stable")[: round(joint[i, j])]:
            row = int(rows[at])
            if margin[at] > 0 and margin[at] > best.get(row, (0.0, 0))[0]:
                best[row] = (float(margin[at]), int(j))
    return [(row, best[row][1]) for row in sorted(best, key=lambda r: (-best[r][0], r))]


def _plain(value: Any) -> Any:
    """A class as JSON can carry it."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, str | int | float | bool) else str(value)
