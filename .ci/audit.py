"""Asks pip-audit for known faults of the locked packages, and says in one line what came of it.

``python .ci/audit.py LOCK...``. Ends with 1 where a fault is known, and names the remedy. A
package that the service does not know is no package without faults: what was not looked at is
said, and where nothing was, that the audit was left out.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# A fault that cannot be met in this project, and why; each is looked at again with each release.
ACCEPTED: Mapping[str, str] = {}

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
SECONDS = 300


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Known faults of the locked packages.")
    parser.add_argument("locks", nargs="+", type=Path)
    parser.add_argument("--also", action="append", default=[], metavar="NAME==VERSION")
    parser.add_argument("--osv-url", help="ask this service alone; else PyPI's, then OSV's own")
    options = parser.parse_args(arguments)
    pins = {f"{name}=={version}" for name, version in _pins(options.locks)} | set(options.also)
    if options.osv_url is not None:
        services = [["--vulnerability-service", "osv", "--osv-url", options.osv_url]]
    else:
        services = [["--vulnerability-service", name] for name in ("pypi", "osv")]
    answers = (_ask(sorted(pins), service) for service in services)
    found = next((answer for answer in answers if any(map(_was_looked_at, answer))), [])
    return _tell(found, len(pins))


def _pins(locks: Sequence[Path]) -> Iterator[tuple[str, str]]:
    for lock in locks:
        yield from PIN.findall(lock.read_text())


def _ask(pins: Sequence[str], service: Sequence[str]) -> list[dict[str, Any]]:
    """What a service says of each package; empty where it does not answer."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "pins.txt"
        wanted.write_text("\n".join(pins))
        ignored = [part for each in ACCEPTED for part in ("--ignore-vuln", each)]
        command = [
            sys.executable, "-m", "pip_audit", "--requirement", str(wanted), "--no-deps",
            "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10",
            *ignored, *service,
        ]  # fmt: skip
        try:
            run = subprocess.run(  # noqa: S603  (our own arguments)
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
            return list(json.loads(run.stdout)["dependencies"])
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return []


def _was_looked_at(package: Mapping[str, Any]) -> bool:
    return "skip_reason" not in package


def _tell(packages: Sequence[Mapping[str, Any]], asked: int) -> int:
    if not packages:
        print(
            f"audit: left out; neither PyPI nor OSV could be asked for known faults of the "
            f"{asked} locked packages"
        )
        return 0
    looked_at = [package for package in packages if _was_looked_at(package)]
    faulty = [package for package in looked_at if package["vulns"]]
    left_out = sorted(package["name"] for package in packages if not _was_looked_at(package))
    if left_out:
        print(f"audit: not known to the service, so not looked at: {', '.join(left_out)}")
    for package in faulty:
        for fault in package["vulns"]:
            print(f"audit: {package['name']} {package['version']}: {_line(package, fault)}")
    if not faulty:
        print(f"audit: no known faults in {len(looked_at)} locked packages")
    return 1 if faulty else 0


def _line(package: Mapping[str, Any], fault: Mapping[str, Any]) -> str:
    """A fault with its remedy."""
    names = ", ".join([fault["id"], *fault.get("aliases", [])])
    if fault["fix_versions"]:
        remedy = (
            f"mended in {', '.join(fault['fix_versions'])}: "
            f"make lock LOCK_ARGS='--upgrade-package {package['name']}'"
        )
    else:
        remedy = (
            "no version mends it yet: do without the package, or say in ACCEPTED of "
            ".ci/audit.py why it cannot be met here"
        )
    return f"{names}. {fault['description'][:200]} → {remedy}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
