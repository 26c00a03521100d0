"""Writing one part of a corpus as ids, and counting what goes by."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from textgen.corpus.dataset import SplitSizes, split_path
from textgen.corpus.splits import SplitName
from textgen.tokenizers import Tokenizer


class IdWriter:
    """Writes the ids of one part, counting; nothing of it is seen before ``publish``."""

    def __init__(self, folder: Path, part: SplitName, documents: bool) -> None:
        self.sizes = SplitSizes()
        self.unknown = Counter[str]()
        self._path = split_path(folder, part)
        self._temporary = folder / f"{part}.{os.getpid()}.tmp"
        self._file: BinaryIO = self._temporary.open("wb")
        self._documents = documents

    def add(self, texts: list[str], tokenizer: Tokenizer) -> None:
        """Append documents, or pieces of one text."""
        if self._documents:
            ids = tokenizer.encode_documents(texts)
            if self.sizes.tokens == 0:  # so that also the first document follows an end
                ids = np.concatenate([np.array([tokenizer.end_id], ids.dtype), ids])
        else:
            ids = tokenizer.encode("".join(texts))
        missing = 0
        if tokenizer.unknown_id is not None and (ids == tokenizer.unknown_id).any():
            found = tokenizer.count_unknown("".join(texts))
            self.unknown += found
            missing = found.total()
        self._file.write(ids.tobytes())
        self.sizes = SplitSizes(
            tokens=self.sizes.tokens + len(ids),
            characters=self.sizes.characters + sum(map(len, texts)),
            documents=self.sizes.documents + (len(texts) if self._documents else 0),
            unknown=self.sizes.unknown + missing,
        )

    def publish(self) -> None:
        """Sync the file and give it its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._temporary.replace(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)
