"""The tokenizers of trained models, for processes that have no torch.

A tokenizer stands at the head of its model's file, so no more of the file is read. Files never
change, so a tokenizer that was read is kept; the least recently used leaves.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from textgen.bundles.header import read_tokenizer
from textgen.errors import InvalidBundle
from textgen.tokenizers import Tokenizer
from worker.errors import CorruptArtifact
from worker.storage.artifacts import ArtifactStore
from worker.storage.models import Model


class ModelTokenizers:
    """Reads and keeps tokenizers. Safe to share between threads."""

    def __init__(self, store: ArtifactStore, most: int = 32) -> None:
        self._store = store
        self._most = most
        self._kept: OrderedDict[tuple[str, str], Tokenizer] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, model: Model) -> Tokenizer:
        """The tokenizer of a model; CorruptArtifact where its file is gone or damaged."""
        key = (model.artifact, model.file)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        try:
            with self._store.open(*key) as file:
                tokenizer = read_tokenizer(file, model.file)
        except (FileNotFoundError, InvalidBundle) as error:
            raise CorruptArtifact(
                f"The file of the model {model.id!r} cannot be read: {error}", param="model"
            ) from error
        with self._lock:
            self._kept[key] = tokenizer
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return tokenizer
