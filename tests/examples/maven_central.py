"""Where the Android and C++ examples' dependencies come from."""

import socket

HOST = "repo.maven.apache.org"


def reachable() -> bool:
    try:
        socket.create_connection((HOST, 443), timeout=5).close()
    except OSError:
        return False
    return True
