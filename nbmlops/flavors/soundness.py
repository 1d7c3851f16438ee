"""Whether the index tables inside trees can be followed safely.

scikit-learn's compiled code follows the child and feature numbers of a tree without checking them, so that a file
made by hand could read outside memory at the first prediction (scikit-learn pull request 34558; skops therefore trusts
no tree). The loader trusts trees, and looks at their numbers first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nbmlops.errors import Untrusted

_LEAF = -1


def check_indices(model: object) -> None:
    """Look at every tree inside a loaded model.

    Raises:
        Untrusted: a tree points outside itself or at a column that the model does not have.
    """
    for part, columns in _walk(model):
        kind = type(part).__name__
        faulty = (
            (kind == "Tree" and not _tree_is_sound(part, columns))
            or (kind == "TreePredictor" and not _predictor_is_sound(part, columns))
            or (kind.startswith(("KDTree", "BallTree")) and not _space_tree_is_sound(part))
        )
        if faulty:
            raise Untrusted(
                f"a {kind} in the model file points outside its own tables: no training makes such a file",
                "do not use this package; register the model again from the object itself",
                (f"{type(part).__module__}.{kind}",),
            )


def _walk(model: object) -> Iterator[tuple[Any, int | None]]:
    """Every object within, each once, with the number of columns of the innermost model that was checked by callers.

    A forest hands its own columns to its trees unchecked, so there the forest's number counts, not the tree's.
    """
    from sklearn.ensemble import IsolationForest
    from sklearn.ensemble._forest import BaseForest
    from sklearn.ensemble._gb import BaseGradientBoosting

    todo: list[tuple[Any, int | None, bool]] = [(model, None, False)]
    seen: set[int] = set()
    while todo:
        item, columns, fixed = todo.pop()
        if id(item) in seen or item is None or isinstance(item, str | bytes | int | float | bool | type):
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            todo.extend((v, columns, fixed) for v in item.values())
        elif isinstance(item, list | tuple | set):
            todo.extend((v, columns, fixed) for v in item)
        elif isinstance(item, np.ndarray):
            if item.dtype == object:
                todo.extend((v, columns, fixed) for v in item.flat)
        else:
            if not fixed and isinstance(own := getattr(item, "n_features_in_", None), int | np.integer):
                columns = int(own)
            yield item, columns
            inner = fixed or isinstance(item, BaseForest | BaseGradientBoosting)
            if isinstance(item, IsolationForest):  # each tree sees its own choice of columns
                inner, columns = True, min((len(chosen) for chosen in item.estimators_features_), default=columns)
            todo.extend((v, columns, inner) for v in getattr(item, "__dict__", {}).values())


def _tree_is_sound(tree: Any, columns: int | None) -> bool:
    if columns is not None and tree.n_features != columns:
        return False
    count = tree.node_count
    left, right, feature = (np.asarray(a) for a in (tree.children_left, tree.children_right, tree.feature))
    inner = left != _LEAF
    places = np.arange(count)[inner]
    # A child always comes after its parent, so there can be no circle either.
    return bool(
        count > 0
        and np.all((left[inner] > places) & (left[inner] < count))
        and np.all((right[inner] > places) & (right[inner] < count))
        and np.all((feature[inner] >= 0) & (feature[inner] < tree.n_features))
    )


def _predictor_is_sound(predictor: Any, columns: int | None) -> bool:
    nodes = predictor.nodes
    count = len(nodes)
    inner = nodes["is_leaf"] == 0
    places = np.arange(count)[inner]
    left, right, feature = (nodes[name][inner].astype(np.int64) for name in ("left", "right", "feature_idx"))
    sets = nodes["bitset_idx"][inner & (nodes["is_categorical"] != 0)]
    known = min(len(predictor.raw_left_cat_bitsets), len(predictor.binned_left_cat_bitsets))
    return bool(
        count > 0
        and np.all((left > places) & (left < count) & (right > places) & (right < count))
        and np.all((feature >= 0) & (columns is None or feature < columns))
        and np.all(sets < known)
    )


def _space_tree_is_sound(tree: Any) -> bool:
    data, order, nodes, bounds = (np.asarray(a) for a in tree.get_arrays())
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    return bool(
        len(order) == len(data)
        and np.all((order >= 0) & (order < len(data)))
        and np.all(
            (nodes["idx_start"] >= 0) & (nodes["idx_start"] <= nodes["idx_end"]) & (nodes["idx_end"] <= len(data))
        )
        and np.all(2 * inner + 2 < len(nodes))
        and bounds.shape[1:] == (len(nodes), data.shape[1])
    )
