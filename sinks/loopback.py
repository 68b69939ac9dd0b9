"""Which names and addresses are this machine alone. What answers without users of its own answers to no other."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Of an address, or of a name without its port."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_name(header: str) -> str:
    """What a header ``Host`` names, without its port: ``localhost:8123``, ``127.0.0.1``, ``[::1]:8123``."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header
