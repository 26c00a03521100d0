"""A server that speaks S3, as a process of its own on loopback; `make clients` installs it.

s3fs lies in the server's environment, as the image has it, and not in that of the tests: its
packages are taken from there by whoever finds none of that name nearer.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.stack import ROOT, free_port

FOLDER = ROOT / "build" / "s3"
PROGRAM = FOLDER / "bin" / "moto_server"
PACKAGES = FOLDER / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
MISSING = "there is no server that speaks S3: `make clients` installs one"
READY_SECONDS = 60


class S3Server:
    """moto's server; what is stored is in its memory."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "s3.log"
        self.port = free_port()
        hook = folder / "hook"
        hook.mkdir()
        # Behind the packages of the tests: PYTHONPATH itself would come before them.
        (hook / "sitecustomize.py").write_text(f"import sys\nsys.path.append({str(PACKAGES)!r})\n")
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "textgen",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "PYTHONPATH": str(hook),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: object, ___: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-H", "127.0.0.1", "-p", str(self.port)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/", timeout=2)
            except httpx.HTTPError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"the S3 server did not start:\n{self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9: nothing of it is left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
