"""The extension type that Arrow strategies use is known while these tests run."""

from __future__ import annotations

import pyarrow as pa
import pytest
from arrow_strategies import Labelled


@pytest.fixture(autouse=True, scope="session")
def _labelled():
    pa.register_extension_type(Labelled(pa.int8(), ""))
    yield
    pa.unregister_extension_type("tests.labelled")
