"""Messages between a manager and a zygote: JSON behind its length, with open files riding along."""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

MOST_BYTES = 16 * 1024 * 1024
_HEAD = struct.Struct("!I")


def send(sock: socket.socket, message: dict[str, Any], files: tuple[int, ...] = ()) -> None:
    """Send one message whole; ``files`` are file descriptors, which stay open here.

    Raises:
        OSError: the other side is gone, or does not read within the socket's time limit.
    """
    body = json.dumps(message).encode()
    data = _HEAD.pack(len(body)) + body
    sent = socket.send_fds(sock, [data], list(files)) if files else 0  # the first byte carries them all
    sock.sendall(data[sent:])


def receive(sock: socket.socket, most_files: int = 0) -> tuple[dict[str, Any] | None, list[int]]:
    """One message and the file descriptors it carries, which are the caller's to close; ``None`` at the end.

    Raises:
        OSError: a time limit, or a connection that broke.
        ValueError: what came is no message, is too long, or carries more files than ``most_files``.
    """
    files: list[int] = []
    try:
        head = _exactly(sock, _HEAD.size, files, most_files)
        if not head:
            return None, files
        size = _HEAD.unpack(head)[0]
        if size > MOST_BYTES:
            raise ValueError(f"a message of {size} bytes; at most {MOST_BYTES} are taken")
        body = _exactly(sock, size, files, most_files)
        message = json.loads(body)
        if not isinstance(message, dict):
            raise ValueError("a message that is not a JSON object")
    except BaseException:  # whatever it is: nobody else knows of the files yet, and it is raised again
        for file in files:
            os.close(file)
        raise
    return message, files


def _exactly(sock: socket.socket, size: int, files: list[int], most_files: int) -> bytes:
    """``size`` bytes, or none of them where the stream ends before the first."""
    data = bytearray()
    while len(data) < size:
        chunk, got, flags, _ = socket.recv_fds(sock, size - len(data), most_files)
        files += got
        if flags & socket.MSG_CTRUNC:
            raise ValueError(f"more than {most_files} files with a message")
        if not chunk:
            if data:
                raise ValueError("the connection ended within a message")
            return b""
        data += chunk
    return bytes(data)
