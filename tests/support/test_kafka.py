"""The way to a broker must not leave anything behind that another test is blamed for."""

import gc
import socket
import warnings
from pathlib import Path

import pytest

from tests.support.kafka import docker_answers


def test_a_docker_socket_without_a_daemon_answers_no_and_leaves_no_open_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    stale = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(stale))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{stale}")

    warnings.simplefilter("always")
    assert not docker_answers()
    gc.collect()

    assert [str(warning.message) for warning in recwarn] == []
