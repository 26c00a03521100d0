"""A TCP proxy on the loopback address whose link can be cut, made silent, slow or forgetful."""

from __future__ import annotations

import random
import selectors
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

PIECE = 65536
LOST_AGAIN_SECONDS = 0.2  # how much later TCP brings a packet that was lost on the way

Mode = Literal["pass", "swallow", "refuse"]


@dataclass
class Half:
    """One direction of a connection: what was read and is to be written later."""

    source: socket.socket
    target: socket.socket
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)


class Proxy:
    """Forwards connections to a port. Change ``mode`` and ``delay_seconds`` at any time.

    pass      forward everything, after ``delay_seconds``; a share ``loss`` comes later still
    swallow   keep connections open, accept new ones, and forward nothing: a half-open network
    refuse    close every connection and refuse new ones

    ``swallow_next_reply`` forwards the next request that contains the bytes and then loses the
    answer: the connection is cut when it comes.
    """

    def __init__(self, target_port: int) -> None:
        self.mode: Mode = "pass"
        self.delay_seconds = 0.0
        self.loss = 0.0
        self.lost_replies = 0
        self._needle: bytes | None = None
        self._doomed: set[socket.socket] = set()
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._halves: list[Half] = []
        self._over = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()
        for half in self._halves:
            half.source.close()
        self._listener.close()

    def swallow_next_reply(self, needle: bytes) -> None:
        self._needle = needle

    def _run(self) -> None:
        self._listener.setblocking(False)
        while not self._over:
            self._accept()
            if self.mode == "refuse":
                for half in list(self._halves):
                    self._drop(half)
            elif self.mode == "pass":
                self._read()
                self._write()
            if self.mode != "pass" or not self._halves:
                time.sleep(0.005)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        if self.mode == "refuse":
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target_port), timeout=5)
        except OSError:
            client.close()
            return
        for each in (client, server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._halves += [Half(client, server), Half(server, client)]

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            for half in self._halves:
                selector.register(half.source, selectors.EVENT_READ, half)
            if not self._halves:
                return
            for key, _ in selector.select(0.002):
                half = key.data
                if half not in self._halves:
                    continue
                try:
                    data = half.source.recv(PIECE)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data:
                    self._flush(half)
                    self._drop(half)
                elif half.source in self._doomed:
                    self.lost_replies += 1
                    self._drop(half)
                else:
                    if self._needle is not None and self._needle in data:
                        self._needle = None
                        self._doomed.add(half.target)
                    wait = self.delay_seconds
                    if self.loss and random.random() < self.loss:
                        wait += LOST_AGAIN_SECONDS
                    half.waiting.append((time.monotonic() + wait, data))

    def _write(self) -> None:
        now = time.monotonic()
        for half in list(self._halves):
            while half.waiting and half.waiting[0][0] <= now:
                _, data = half.waiting.popleft()
                if not _send(half.target, data):
                    self._drop(half)
                    break

    def _flush(self, half: Half) -> None:
        while half.waiting:
            if not _send(half.target, half.waiting.popleft()[1]):
                return

    def _drop(self, half: Half) -> None:
        ends = {half.source, half.target}
        self._halves = [each for each in self._halves if each.source not in ends]
        self._doomed -= ends
        for end in ends:
            end.close()


def _send(target: socket.socket, data: bytes) -> bool:
    target.settimeout(5)
    try:
        target.sendall(data)
    except OSError:
        return False
    finally:
        if target.fileno() >= 0:
            target.setblocking(False)
    return True
