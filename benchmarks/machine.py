"""What the figures were measured on; a figure without it says nothing."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import chdb
import psutil

from tests.support.kafka import IMAGE


@dataclass(frozen=True, slots=True)
class Machine:
    date: str
    cpu: str
    cores: int
    memory_gb: float
    load_before: float  # the average of the minute before; far above 0 the figures are worth little
    system: str
    python: str
    kafka: str
    clickhouse: str
    faust: str
    costream: str


def machine(now: datetime) -> Machine:
    return Machine(
        date=now.strftime("%Y-%m-%d %H:%M UTC"),
        cpu=_cpu(),
        cores=psutil.cpu_count() or 0,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        load_before=round(psutil.getloadavg()[0], 2),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        kafka=f"Apache Kafka {IMAGE.rsplit(':', 1)[1]} in a local JVM, one node",
        clickhouse=f"{chdb.engine_version} (chdb {version('chdb')})",
        faust=version("faust-streaming"),
        costream=version("costream"),
    )


def _cpu() -> str:
    """The model's name, where the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
