"""The tokenizers of trained models, for processes that have no torch.

A tokenizer stands at the head of its model's file, so no more of the file is read. Files never
change, so a tokenizer that was read is kept; the least recently used leaves.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from textgen.bundles.header import read_head
from textgen.engine.context import ContextMaker
from textgen.errors import InvalidBundle
from textgen.tokenizers import Tokenizer, load_tokenizer
from worker.errors import CorruptArtifact
from worker.storage.artifacts import ArtifactStore
from worker.storage.models import Model


@dataclass(frozen=True, slots=True)
class ModelTokenizer:
    """A model's tokenizer, and what the model reads before and after a prompt.

    ``framed``: whether it does so at all, having learnt from documents.
    """

    tokenizer: Tokenizer
    context: ContextMaker
    framed: bool


class ModelTokenizers:
    """Reads and keeps tokenizers. Safe to share between threads."""

    def __init__(self, store: ArtifactStore, most: int = 32) -> None:
        self._store = store
        self._most = most
        self._kept: OrderedDict[tuple[str, str], ModelTokenizer] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, model: Model) -> ModelTokenizer:
        """The tokenizer of a model; CorruptArtifact where its file is gone or damaged."""
        key = (model.artifact, model.file)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = self._read(model)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found

    def _read(self, model: Model) -> ModelTokenizer:
        try:
            with self._store.open(model.artifact, model.file) as file:
                header = read_head(file, model.file)
            tokenizer = load_tokenizer(header.tokenizer)
        except (FileNotFoundError, InvalidBundle) as error:
            raise CorruptArtifact(
                f"The file of the model {model.id!r} cannot be read: {error}", param="model"
            ) from error
        context = ContextMaker(tokenizer, documents=header.documents, rows=header.rows)
        return ModelTokenizer(tokenizer, context, header.documents)
