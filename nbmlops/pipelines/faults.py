"""The faults of a pipeline file: gathered by all who check it, told once, in the order of the file's lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Place = tuple[object, ...]  # the keys that lead to a value: ("stages", "train", "reads", 0)


class Faults:
    """Collects texts with the place they are about. ``lines`` tells the line of each place that the file has."""

    def __init__(self, lines: Mapping[Place, int]) -> None:
        self._lines = lines
        self._found: dict[tuple[int | None, str], None] = {}

    def add(self, at: Place, text: str) -> None:
        """A fault at a place, or at the nearest one above it that is in the file; ``()`` for one without a place."""
        line = next((self._lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in self._lines), None)
        stage = f"stage {at[1]}: " if at[:1] == ("stages",) and len(at) > 1 else ""
        self._found[line, stage + text] = None

    def add_at_line(self, line: int, text: str) -> None:
        """A fault whose line is known already."""
        self._found[line, text] = None

    def extend(self, at: Place, texts: Iterable[str]) -> None:
        """Several faults at one place."""
        for text in texts:
            self.add(at, text)

    def texts(self) -> list[str]:
        """Every fault once, in line order; those without a line, such as values given from outside, come last."""
        ordered = sorted(self._found, key=lambda fault: (fault[0] is None, fault[0] or 0))
        return [f"line {line}: {text}" if line else text for line, text in ordered]
