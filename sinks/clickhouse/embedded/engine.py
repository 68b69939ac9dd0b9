"""How the embedded engine is opened. All handles of a process are opened alike: the first one starts the engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

OPTIONS: Final = {"config-file": str(Path(__file__).with_name("engine.xml"))}


def open_handle(folder: str) -> Any:
    """A handle of chDB's. Raises RuntimeError where another process has the folder, or it cannot be written."""
    import chdb

    return chdb.connect(f"{os.path.realpath(folder)}?{urlencode(OPTIONS)}")  # spelled as the driver spells it
