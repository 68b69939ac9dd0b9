"""docker-compose, as this machine has it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


def docker_compose() -> list[str]:
    """The command. Where there is none, the test that asks is skipped, and fails in CI."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        return ["docker", "compose"]
    if os.environ.get("CI"):
        pytest.fail("CI must check docker-compose.yml: docker-compose is not installed", pytrace=False)
    # Outside CI the other checks of the file are enough to go on with; the text says how to run this one too.
    pytest.skip("docker-compose is not installed (Debian: apt-get install docker-compose)")
