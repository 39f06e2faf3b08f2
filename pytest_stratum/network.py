"""Refuse connections that leave the machine."""

import ipaddress
import socket
from typing import Any


class Network:
    """Closes `socket.connect` to all but loopback addresses and local sockets.

    Installed once; it refuses while `is_closed`.
    """

    def __init__(self) -> None:
        self._class = socket.socket
        self.is_closed = False
        self._installed = False

    def install(self) -> None:
        connect, connect_ex = self._class.connect, self._class.connect_ex

        def guarded(sock: socket.socket, address: Any) -> None:
            self._check(sock, address)
            connect(sock, address)

        def guarded_ex(sock: socket.socket, address: Any) -> int:
            self._check(sock, address)
            return connect_ex(sock, address)

        self._class.connect = guarded  # type: ignore[method-assign,assignment]
        self._class.connect_ex = guarded_ex  # type: ignore[method-assign,assignment]
        self._installed = True

    def restore(self) -> None:
        if self._installed:
            del self._class.connect, self._class.connect_ex
            self._installed = False

    def _check(self, sock: socket.socket, address: Any) -> None:
        inet = sock.family in (socket.AF_INET, socket.AF_INET6)
        if self.is_closed and inet and not _is_local(address[0]):
            raise ConnectionRefusedError(
                f"a connection to {address[0]}:{address[1]} was refused: stratum_block_network "
                "is on and this run replays"
            )


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
