"""Documents in an order that a seed decides, whatever the order of the files, in bounded memory.

A document's place follows from a hash of its number and the seed: documents are dealt to files by
the first bits of it, and each file is then sorted by it. So the order depends neither on how many
files there are nor on any library's random numbers.
"""

from __future__ import annotations

import pickle
import shutil
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from textgen.corpus.documents import Document

Array = npt.NDArray[Any]
Keys = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.int64]
Column = tuple[Array, Lengths]  # what documents have of one kind, and how many items each has of it
BUCKET = 1 << 21  # characters


class Shuffle:
    """Takes columns that belong together, document by document, and gives them out in the order.

    ``characters`` says about how many there will be, for the size of the files in ``folder``.
    """

    def __init__(self, folder: Path, seed: int, characters: int) -> None:
        self._folder = folder
        self._seed = seed
        self._bits = min(max(characters // BUCKET, 0).bit_length(), 12)
        self._number = 0
        shutil.rmtree(folder, ignore_errors=True)  # of a training that was stopped
        folder.mkdir(parents=True)

    def add(self, columns: Sequence[Column]) -> None:
        """Further documents."""
        count = columns[0][1].size
        keys = _keys(np.arange(self._number, self._number + count, dtype=np.uint64), self._seed)
        self._number += count
        buckets = (keys >> np.uint64(52)).astype(np.int64) >> (12 - self._bits)
        order = np.argsort(buckets, kind="stable")
        cuts = np.flatnonzero(np.diff(buckets[order], prepend=-1, append=1 << 13))
        for first, stop in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            chosen = order[first:stop]
            parts: list[Array] = [keys[chosen]]
            for values, lengths in columns:
                sizes = lengths.astype(np.int64)
                parts += [sizes[chosen], values[_places(sizes, chosen)]]
            self._append(int(buckets[chosen[0]]), parts)

    def _append(self, bucket: int, arrays: Sequence[Array]) -> None:
        for number, values in enumerate(arrays):
            with (self._folder / f"{bucket}.{number}").open("ab") as file:
                file.write(values.tobytes())

    def write(self, files: Sequence[IO[bytes]], dtypes: Sequence[npt.DTypeLike]) -> None:
        """Append all documents to the files, one for each column, and delete what was kept."""
        for bucket in range(1 << self._bits):
            paths = [self._folder / f"{bucket}.{number}" for number in range(1 + 2 * len(files))]
            if not paths[0].exists():
                continue  # no document was dealt to it
            order = np.argsort(np.fromfile(paths[0], np.uint64), kind="stable")
            for file, sizes, values, dtype in zip(
                files, paths[1::2], paths[2::2], dtypes, strict=True
            ):
                places = _places(np.fromfile(sizes, np.int64), order)
                file.write(np.fromfile(values, dtype)[places].tobytes())
        self.close()

    def close(self) -> None:
        """Delete what was kept."""
        shutil.rmtree(self._folder, ignore_errors=True)


def in_order(documents: Iterable[Document], seed: int) -> Iterator[Document]:
    """The documents in the order that ``Shuffle`` gives them, in a file of ours meanwhile."""
    with TemporaryFile() as file:
        places = array("Q")
        for document in documents:
            places.append(file.tell())
            pickle.dump(document, file)
        keys = _keys(np.arange(len(places), dtype=np.uint64), seed)
        for number in np.argsort(keys, kind="stable").tolist():
            file.seek(places[number])
            yield pickle.load(file)  # noqa: S301 - nobody else can write to it


def _places(sizes: Lengths, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each item stands now that is to come next, for pieces of ``sizes`` in ``order``."""
    starts, taken = np.cumsum(sizes) - sizes, sizes[order]
    before = np.cumsum(taken) - taken
    return np.repeat(starts[order] - before, taken) + np.arange(int(taken.sum()))


def _keys(numbers: Keys, seed: int) -> Keys:
    """A permutation of the 64-bit numbers, another one for every seed (splitmix64's mixing)."""
    keys = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(
        (seed * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019) % 2**64
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        keys = (keys ^ (keys >> np.uint64(shift))) * np.uint64(factor)
    return keys ^ (keys >> np.uint64(31))
