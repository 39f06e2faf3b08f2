"""Refuse connections that leave the machine."""

import ipaddress
import socket
from typing import Any


class Network:
    """Closes `socket.connect` to everything but loopback addresses and local sockets."""

    def __init__(self) -> None:
        self._connect = socket.socket.connect
        self._connect_ex = socket.socket.connect_ex

    def block(self) -> None:
        connect, connect_ex = self._connect, self._connect_ex

        def guarded(sock: socket.socket, address: Any) -> None:
            _check(sock, address)
            connect(sock, address)

        def guarded_ex(sock: socket.socket, address: Any) -> int:
            _check(sock, address)
            return connect_ex(sock, address)

        socket.socket.connect = guarded  # type: ignore[method-assign,assignment]
        socket.socket.connect_ex = guarded_ex  # type: ignore[method-assign,assignment]

    def restore(self) -> None:
        socket.socket.connect = self._connect  # type: ignore[method-assign]
        socket.socket.connect_ex = self._connect_ex  # type: ignore[method-assign]


def _check(sock: socket.socket, address: Any) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or _is_local(address[0]):
        return
    raise ConnectionRefusedError(
        f"a connection to {address[0]}:{address[1]} was refused: stratum_block_network is on "
        "and this run replays"
    )


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
