"""System metrics of a run: ``system/cpu_utilization_percentage`` and its kin, under MLflow's names."""

from __future__ import annotations

import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbmlops.runs.live import LiveRun


class Telemetry:
    """Samples CPU, memory, disk, network and NVIDIA GPUs every ``seconds`` on a thread until ``stop()``."""

    def __init__(self, live: LiveRun, seconds: float = 5.0) -> None:
        self._live = live
        self._seconds = seconds
        self._stop = threading.Event()
        self._gpu = shutil.which("nvidia-smi")
        self._thread = threading.Thread(target=self._work, name="nbmlops-telemetry", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Takes a last sample and ends."""
        self._stop.set()
        self._thread.join(timeout=10)

    def _work(self) -> None:
        import psutil

        process = psutil.Process()
        process.cpu_percent()
        psutil.cpu_percent()
        net = psutil.net_io_counters()
        step, last = 0, False
        while not last:
            # The first sample comes soon, so that short runs have one.
            last = self._stop.wait(0.5 if step == 0 else self._seconds)
            memory = psutil.virtual_memory()
            now = psutil.net_io_counters()
            self._live.log_metrics(
                {
                    "system/cpu_utilization_percentage": psutil.cpu_percent(),
                    "system/process_cpu_percentage": process.cpu_percent(),
                    "system/system_memory_usage_megabytes": memory.used / 1e6,
                    "system/system_memory_usage_percentage": memory.percent,
                    "system/process_memory_megabytes": process.memory_info().rss / 1e6,
                    "system/disk_usage_percentage": psutil.disk_usage("/").percent,
                    "system/network_receive_megabytes": (now.bytes_recv - net.bytes_recv) / 1e6,
                    "system/network_transmit_megabytes": (now.bytes_sent - net.bytes_sent) / 1e6,
                    **self._gpus(),
                },
                step,
            )
            step += 1

    def _gpus(self) -> dict[str, float]:
        if not self._gpu:
            return {}
        query = "--query-gpu=index,utilization.gpu,memory.used,power.draw"
        try:
            done = subprocess.run(
                [self._gpu, query, "--format=csv,noheader,nounits"],
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):  # a driver that does not answer: no GPU from here on
            self._gpu = None
            return {}
        found = {}
        for line in done.stdout.splitlines():
            index, *numbers = (part.strip() for part in line.split(","))
            names = ("utilization_percentage", "memory_usage_megabytes", "power_usage_watts")
            for name, text in zip(names, numbers, strict=False):
                if text.replace(".", "", 1).isdigit():
                    found[f"system/gpu_{index}_{name}"] = float(text)
        return found
