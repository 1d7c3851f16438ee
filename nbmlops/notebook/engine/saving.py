"""Saves of a notebook that still runs: few, and never in the way of the kernel's messages."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

from nbmlops.notebook.engine import document

FIRST = 2.0  # seconds: a notebook that ends sooner is never saved on the way
PATIENCE = 30.0  # seconds for a save that is under way when the notebook ends
SHARE = 20  # the notebook is brought into bytes for at most a twentieth of the time


class Saver:
    """Hands the notebook to ``save`` after two seconds, then at doubling intervals up to ``longest`` seconds.

    The bytes are made between two messages; ``save`` runs in a thread. A save that fails is a warning, said once.
    """

    def __init__(self, save: Callable[[bytes], None], longest: float) -> None:
        self.save, self.longest = save, longest
        self.warnings: list[str] = []
        self.under_way: asyncio.Event | None = None

    async def run(self, nb: Any, settle: Callable[[], None]) -> None:
        """Save until cancelled. ``settle`` is called before, to bring outputs up to date."""
        pause = FIRST
        while True:
            await asyncio.sleep(pause)
            settle()
            data, seconds = document.unfinished(nb)
            pause = max(min(2 * pause, self.longest), SHARE * seconds)
            await self._save(data)

    async def _save(self, data: bytes) -> None:
        loop, saved = asyncio.get_running_loop(), asyncio.Event()
        self.under_way = saved

        def work() -> None:
            try:
                self.save(data)
            except Exception as error:  # whatever a store can raise: the next save, or the last, may do better
                self._warn(f"the notebook could not be saved while it ran: {type(error).__name__}: {error}")
            with contextlib.suppress(RuntimeError):  # the loop is closed: it was given up below
                loop.call_soon_threadsafe(saved.set)

        # A daemon of our own: a thread of the loop's would keep the loop from closing for as long as it hangs.
        threading.Thread(target=work, name="nbmlops-save", daemon=True).start()
        await saved.wait()

    async def end(self) -> None:
        """Wait for a save that is under way, so that it cannot overwrite the finished notebook."""
        if self.under_way is not None:
            try:
                await asyncio.wait_for(self.under_way.wait(), PATIENCE)
            except TimeoutError:
                self._warn(f"a save of the notebook did not end within {PATIENCE:.0f} s")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
