"""Artifacts whose bytes are not those that were stored: all of the storage is read.

A damaged artifact is put aside: nobody reads it any more, and its bytes stay for whoever looks
into them, as long as something points to it. What to do about that is its owner's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from worker.backend import Backend
from worker.errors import CorruptArtifact
from worker.operations.checks.finding import Finding
from worker.operations.references import references
from worker.processes.orphans import FEW, FOLDERS

SAY_BYTES = 2**34  # read between two words about it
MOST_DAMAGED = (
    "Most artifacts are damaged: is the disk failing, or the storage another one's? Nothing of "
    "this is mended. Bring the storage back from a backup."
)


class Damaged:
    """Reads every byte, so it takes as long as that takes."""

    def __init__(self, backend: Backend, say: Callable[[str], object] = lambda _: None) -> None:
        self._backend = backend
        self._say = say
        self._sound: set[str] = set()  # what was read already: artifacts never change

    def look(self) -> Iterator[Finding]:
        """One artifact after the other; what is deleted meanwhile is passed over."""
        found: dict[str, str] = {}
        total = size = said = 0
        for folder in FOLDERS:
            for name in self._backend.store.list(folder):
                total += 1
                if name in self._sound:
                    continue
                read, fault = self._read(name)
                size += read
                if fault:
                    found[name] = fault
                else:
                    self._sound.add(name)
                if size - said >= SAY_BYTES:
                    self._say(f"{total:,} artifacts, {size / 1e9:,.0f} GB read")
                    said = size
        if not found:
            return
        owners = self._owners(found)
        hint = MOST_DAMAGED if len(found) > FEW and 2 * len(found) > total else ""
        for name, fault in found.items():
            users, tenant = owners.get(name, ("nothing that is there", None))
            yield Finding("damaged_artifact", name, f"{fault} Used by {users}.", tenant, hint)

    def mend(self, findings: Sequence[Finding]) -> None:
        """Put each aside that is damaged still."""
        for finding in findings:
            if self._read(finding.id)[1]:
                self._backend.store.quarantine(finding.id)

    def _read(self, name: str) -> tuple[int, str]:
        """The size of an artifact, and what is wrong with it; nothing where it is gone by now."""
        store = self._backend.store
        try:
            return sum(info.bytes for info in store.verify(name).files.values()), ""
        except FileNotFoundError:
            return 0, ""
        except CorruptArtifact as error:
            fault = error.message
        try:
            store.get(name)
        except FileNotFoundError:  # a file was missing since somebody is deleting it
            return 0, ""
        except CorruptArtifact:
            pass
        return 0, fault

    def _owners(self, names: dict[str, str]) -> dict[str, tuple[str, str]]:
        """What points to each of these, and whose that is."""
        found: dict[str, tuple[str, str]] = {}
        with self._backend.database.snapshot() as connection:
            for each in references(connection):
                if each.artifact in names:
                    users, _ = found.get(each.artifact, ("", ""))
                    users = f"{users}, {each.shown}" if users else each.shown
                    found[each.artifact] = (users, each.tenant)
        return found
