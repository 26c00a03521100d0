"""Whatever is in a file, its reader gives a value or an error that it declares.

`make test` tries some hundred files of each kind, `make test-all` many more.
"""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.damage import damaged_bytes, damaged_json
from tests.random_models import BundleMaker
from textgen.bundles.bundle import load_bundle, save_bundle
from textgen.bundles.checking import check_bundle
from textgen.bundles.checkpoint import load_checkpoint, save_checkpoint
from textgen.bundles.header import BundleHeader, TrainingState, read_head, read_header
from textgen.bundles.tensor_file import open_tensor_file, write_tensor_file
from textgen.corpus.sources import Source, read_documents
from textgen.errors import InvalidBundle, InvalidCheckpoint, InvalidCorpus
from worker.batches.input import InvalidBatch, plan_batch
from worker.errors import CorruptArtifact
from worker.storage.artifacts import ArtifactStore

FUZZ = settings(
    max_examples=int(os.environ.get("TEXTGEN_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ROWS = (
    b'{"text": "to be"}\n{"text": "or not"}\n',
    b'{"prompt": "2+2=", "completion": "4"}\n',
    b'{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]}\n',
    b'{"text": "good", "label": "plus"}\n{"text": "bad", "label": "minus"}\n',
)
TABLE = b'title,text\n"a ""b""","to be,\nor not"\nc,d\n'
LINE = b'{"custom_id": "1", "method": "POST", "url": "/v1/completions", "body": {"prompt": "x"}}\n'


@FUZZ
@given(data=st.sampled_from(ROWS).flatmap(damaged_bytes))
def test_json_lines(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    try:
        list(read_documents(Source(path)))
    except InvalidCorpus as error:
        assert "rows.jsonl" in error.message


@FUZZ
@given(data=damaged_bytes(TABLE))
def test_csv(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    try:
        list(read_documents(Source(path)))
    except InvalidCorpus as error:
        assert "table.csv" in error.message


@FUZZ
@given(data=damaged_bytes(LINE * 3))
def test_batch_input(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "batch.jsonl"
    path.write_bytes(data)
    with path.open("rb") as stream:
        try:
            plan = plan_batch(stream, "/v1/completions", max_lines=100, max_bytes=10_000)
        except InvalidBatch as error:
            assert error.errors
        else:
            assert plan.lines >= 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, make_bundle: BundleMaker) -> Path:
    """A model file that is right."""
    path = tmp_path_factory.mktemp("whole") / "model.safetensors"
    bundle = make_bundle()
    save_bundle(path, bundle.header, bundle.model.state_dict())
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, make_bundle: BundleMaker) -> Path:
    """A checkpoint that is right, with better weights than its newest."""
    path = tmp_path_factory.mktemp("whole") / "checkpoint.safetensors"
    bundle = make_bundle()
    state = TrainingState(step=3, seconds=1.5, plan_hash="a", corpus_hash="b", best_step=2)
    header = bundle.header.model_copy(update={"training": state})
    weights = bundle.model.state_dict()
    save_checkpoint(path, header, weights, {"optimizer.step": torch.tensor([3.0])}, weights)
    return path


@FUZZ
@given(data=st.data())
def test_a_model_file_of_other_bytes(
    tmp_path: Path, whole: Path, checkpoint: Path, data: st.DataObject
) -> None:
    path = tmp_path / "model.safetensors"
    right = data.draw(st.sampled_from([whole, checkpoint])).read_bytes()
    path.write_bytes(data.draw(damaged_bytes(right)))
    read_all(path)


def read_all(path: Path) -> None:
    """Each reader of model files reads it, or refuses it."""
    readers: list[Callable[[Path], object]] = [read_header, load_bundle, load_checkpoint, head]
    for read in readers:
        try:
            read(path)
        except (InvalidBundle, InvalidCheckpoint) as error:
            assert error.message
    try:
        check_bundle(path)
    except InvalidBundle:
        return
    load_bundle(path)  # what is taken in can be used


def head(path: Path) -> BundleHeader:
    with path.open("rb") as file:
        return read_head(file, path.name)


@FUZZ
@given(data=st.data())
def test_a_model_file_that_says_other_things(
    tmp_path: Path, whole: Path, checkpoint: Path, data: st.DataObject
) -> None:
    """Its checksums are right, as whoever makes such a file on purpose would see to."""
    file = open_tensor_file(data.draw(st.sampled_from([whole, checkpoint])))
    document = data.draw(damaged_json(json.loads(file.text)))
    path = tmp_path / "model.safetensors"
    write_tensor_file(path, json.dumps(document), file.read())
    read_all(path)


@pytest.mark.parametrize("length", [2**40, 2**63 - 1, 2**64 - 1, 0])
def test_a_header_that_claims_to_be_huge(tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    tracemalloc.start()
    with pytest.raises(InvalidBundle):
        load_bundle(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2**20


@FUZZ
@given(data=st.data())
def test_a_manifest(tmp_path: Path, data: st.DataObject) -> None:
    store = ArtifactStore(str(tmp_path))
    if not (tmp_path / "files").exists():
        with store.create("files/1") as staging:
            with staging.open("content") as stream:
                stream.write(b"text")
            staging.commit()
        (tmp_path / "right.json").write_bytes((tmp_path / "files/1/manifest.json").read_bytes())
    right = (tmp_path / "right.json").read_bytes()
    as_json = damaged_json(json.loads(right)).map(lambda value: json.dumps(value).encode())
    (tmp_path / "files/1/manifest.json").write_bytes(
        data.draw(st.one_of(as_json, damaged_bytes(right)))
    )
    try:
        artifact: Any = store.get("files/1")
        for file in artifact.files:
            store.local_path("files/1", file)
    except (CorruptArtifact, FileNotFoundError):
        pass
