"""PyTorch modules as exported programs (``torch.export``): the graph and the weights, without the module's own code.

Reading one evaluates expressions of shapes that the file holds as text (torch 2.13), so it needs ``trust=True`` like a
pickle, and no environment takes it. ``predict`` gives the module rows as float32, and what it answers as columns.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nbmlops import lazy
from nbmlops.errors import CheckFailed, InvalidValue

FILE = "model.pt2"
_EXAMPLES = 4  # rows; torch takes a length of 1 for fixed


class Predictor:
    """A module, or a program that was loaded, as something that predicts."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def predict(self, rows: Any) -> np.ndarray:
        """The answers, row by row: one column is one number a row."""
        torch = lazy.need("torch", "PyTorch models", "")
        with torch.no_grad():
            found = self.module(_tensor(torch, rows)).cpu().numpy()
        return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found


def _tensor(torch: Any, rows: Any) -> Any:
    return torch.as_tensor(np.ascontiguousarray(np.asarray(rows, dtype=np.float32)))


def supports(model: object) -> bool:
    """Whether it is a module, or one that is ready to predict; torch is not imported to find out."""
    inner = model.module if isinstance(model, Predictor) else model
    return lazy.is_instance(inner, "torch.nn", "Module")


def adapt(model: Any) -> Predictor:
    """The module as something that predicts, in its mode for that."""
    return model if isinstance(model, Predictor) else Predictor(model.eval())


def save(model: Any, example: Any = None) -> dict[str, bytes]:
    """The files of a package.

    Args:
        model: a module, or what :func:`adapt` made of one.
        example: rows as it takes them.

    Raises:
        InvalidValue: torch cannot export it; says why.
    """
    torch = lazy.need("torch", "PyTorch models", "")
    rows = np.asarray(example, dtype=np.float32)
    rows = np.resize(rows, (_EXAMPLES, *rows.shape[1:]))
    module, buffer = adapt(model).module, io.BytesIO()
    try:
        any_number = torch.export.Dim("rows", min=1, max=1 << 24)
        program = torch.export.export(module, (_tensor(torch, rows),), dynamic_shapes=({0: any_number},))
        torch.export.save(program, buffer)
    except Exception as error:  # whatever the module's own code does while it is traced
        raise InvalidValue(
            f"torch cannot export this {type(module).__name__}: {type(error).__name__}: {str(error).splitlines()[0]}",
            "forward() must take one tensor of rows, and not choose its way by their values",
        ) from error
    return {FILE: buffer.getvalue()}


def types_in(_files: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
    """Nothing is known of a program before it is read."""
    return [], ["torch: anything"]


def load(files: Mapping[str, bytes], _trusted: Iterable[str | type] = ()) -> Predictor:
    """The program, ready to predict.

    Raises:
        CheckFailed: it cannot be read here.
    """
    torch = lazy.need("torch", "PyTorch models", "")
    try:
        return Predictor(torch.export.load(io.BytesIO(files[FILE])).module())
    except Exception as error:  # another version of torch, or a damaged file
        raise CheckFailed(
            f"the model file cannot be rebuilt: {type(error).__name__}: {error}",
            "install the version of torch in the package's requirements.txt",
        ) from error
