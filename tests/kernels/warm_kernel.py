"""A kernel for a test, warm or started the usual way."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

from nbmlops import kernels

HEAVY = kernels.preloadable(["pandas", "sklearn.ensemble", "matplotlib.pyplot", "nbmlops"])


class Kernel:
    """A kernel and a client; ``preload`` None starts it the usual way."""

    def __init__(self, preload: list[str] | None = None, **options: Any) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="k")
        self.km = KernelManager(kernel_name="python3", transport="ipc")
        self.km.connection_file = str(Path(self.folder.name, "k.json"))
        if preload is not None:
            assert kernels.make_warm(self.km, preload) == ""
        extra = options.pop("env", {})
        env = {k: v for k, v in os.environ.items() if k not in {"MPLBACKEND", "JPY_PARENT_PID"}} | extra
        self.km.start_kernel(env=env, **options)
        self.kc = self.km.client()
        self.kc.start_channels()
        self.kc.wait_for_ready(timeout=60)

    @property
    def usual(self) -> str:
        """Why it is no warm kernel."""
        return self.km.provisioner.usual

    @property
    def pid(self) -> int:
        return self.km.provisioner.pid

    @property
    def zygote(self) -> int:
        return int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[1])

    def messages(self, code: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        self.kc.execute_interactive(code, allow_stdin=False, timeout=60, output_hook=found.append)
        return found

    def run(self, code: str) -> str:
        """What the code prints, its value, and its error."""
        said = ""
        for message in self.messages(code):
            content = message["content"]
            if message["msg_type"] == "error":
                said += f"{content['ename']}: {content['evalue']}"
            elif message["msg_type"] != "execute_input":
                said += content.get("text") or content.get("data", {}).get("text/plain", "")
        return said.strip()

    def close(self, now: bool = False) -> None:
        self.kc.stop_channels()
        self.km.shutdown_kernel(now=now)
        self.folder.cleanup()
