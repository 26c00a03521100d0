import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tests.random_models import BundleMaker
from textgen.bundles.bundle import Bundle, BundleHeader, load_bundle, read_header, save_bundle
from textgen.bundles.tensor_file import MAX_HEADER_BYTES, open_tensor_file, write_tensor_file
from textgen.errors import InvalidBundle
from textgen.tokenizers import ByteTokenizer

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def bundle(make_bundle: BundleMaker) -> Bundle:
    return make_bundle(2)


@pytest.fixture
def path(bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_bundle(path, bundle.header, bundle.model.state_dict())
    return path


def rewrite(path: Path, change: Callable[[dict], object]) -> None:
    """Change the header of ours within the file, with checksums that agree again."""
    file = open_tensor_file(path)
    header = json.loads(file.text)
    change(header)
    write_tensor_file(path, json.dumps(header), file.read())


def test_a_bundle_comes_back_as_it_was(bundle: Bundle, path: Path) -> None:
    found = load_bundle(path)
    assert found.header == bundle.header
    assert not found.model.training
    weights = bundle.model.state_dict()
    for name, value in found.model.state_dict().items():
        assert torch.equal(value, weights[name])
    assert found.tokenizer.encode("我是 a?").tolist() == bundle.tokenizer.encode("我是 a?").tolist()
    ids = torch.tensor([[2, 3, 4]])
    assert torch.equal(found.model(ids)[0], bundle.model(ids)[0])


def test_tied_weights_are_still_one_matrix_after_loading(
    make_bundle: BundleMaker, tmp_path: Path
) -> None:
    from textgen.bundles.bundle import count_parameters
    from textgen.model import TextGenerator

    made = make_bundle(1, 16, 16)
    options = made.header.model.model_copy(update={"tie_weights": True})
    model = TextGenerator.from_options(made.header.vocab_size, options)
    header = made.header.model_copy(
        update={"model": options, "parameters": count_parameters(model)}
    )
    save_bundle(tmp_path / "tied.safetensors", header, model.state_dict())
    found = load_bundle(tmp_path / "tied.safetensors").model
    assert found.output.weight is found.embedding.weight
    assert torch.equal(found.embedding.weight, model.embedding.weight)


def test_the_same_model_gives_the_same_bytes(bundle: Bundle, path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save_bundle(again, bundle.header, bundle.model.state_dict())
    assert again.read_bytes() == path.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == [again.name, path.name]


def test_other_programs_can_read_it_as_safetensors(bundle: Bundle, path: Path) -> None:
    arrays = load_file(path)
    for name, value in bundle.model.state_dict().items():
        np.testing.assert_array_equal(arrays[f"model.{name}"], value.numpy())


def test_loading_leaves_the_generators_alone(path: Path) -> None:
    state = torch.get_rng_state()
    load_bundle(path)
    assert torch.equal(state, torch.get_rng_state())


def test_the_header_is_read_without_torch(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from textgen.bundles.header import read_header; "
        f"print(read_header(Path({str(path)!r})).parameters); sys.exit('torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, check=True, capture_output=True, text=True
    )
    assert int(found.stdout) == read_header(path).parameters


def test_a_failed_write_leaves_the_old_file(
    bundle: Bundle, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_bundle(path, bundle.header, bundle.model.state_dict())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    start = open_tensor_file(path).data_start
    generator = random.Random(1)
    cuts = [0, 1, 7, 8, 9, start - 1, start, len(whole) - 1]
    for cut in cuts + [generator.randrange(len(whole)) for _ in range(40)]:
        path.write_bytes(whole[:cut])
        with pytest.raises(InvalidBundle):
            load_bundle(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InvalidBundle):
        load_bundle(path)


def test_any_flipped_bit_is_found(path: Path) -> None:
    whole = path.read_bytes()
    start = open_tensor_file(path).data_start
    generator = random.Random(2)
    places = [generator.randrange(start) for _ in range(300)]
    places += list(range(16)) + list(range(start - 64, start))
    places += [generator.randrange(start, len(whole)) for _ in range(30)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(InvalidBundle):
            load_bundle(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, this is a text and not a model\n" * 100,
        b"PK\x03\x04" + bytes(1000),
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", MAX_HEADER_BYTES + 1) + b" " * 1000,
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 5000) + b"9" * 5000,
        struct.pack("<Q", 15) + b'{"__metadata__"',
        struct.pack("<Q", 21) + b'{"__metadata__":null}',
        bytes(range(256)) * 4,
    ],
)
def test_foreign_files_are_refused_fast(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidBundle, match="not a model file that can be used"):
        read_header(path)


def test_safetensors_of_another_program_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"model.embedding.weight": np.zeros((3, 3), np.float32)}, path)
    with pytest.raises(InvalidBundle, match="another program"):
        read_header(path)


def test_another_version_names_the_way_out(path: Path) -> None:
    rewrite(path, lambda header: header.update(format=2))
    with pytest.raises(InvalidBundle, match="Use the version that wrote it") as error:
        read_header(path)
    assert error.value.code == "unknown_format"


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["model"].update(hidden_size=64),
        lambda header: header["model"].update(layers=1),
        lambda header: header["model"].update(layers=10**9),
        lambda header: header["model"].update(tie_weights=True),
        lambda header: header.update(vocab_size=5),
        lambda header: header.update(parameters=1),
        lambda header: header.update(tokenizer=ByteTokenizer().to_dict()),
        lambda header: header.update(tokenizer={"name": "char", "characters": "aa"}),
        lambda header: header.update(tokenizer={"name": "none"}),
        lambda header: header.update(surprise=1),
        lambda header: header.pop("model"),
        lambda header: header["generation_defaults"].update(temperature=-1),
    ],
)
def test_a_header_that_does_not_fit_the_file_is_refused(
    path: Path, change: Callable[[dict], object]
) -> None:
    rewrite(path, change)
    with pytest.raises(InvalidBundle):
        load_bundle(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(path: Path, value: float) -> None:
    file = open_tensor_file(path)
    arrays = file.read()
    arrays["model.output.bias"][0] = value
    write_tensor_file(path, file.text, arrays)
    with pytest.raises(InvalidBundle, match="finite"):
        load_bundle(path)


def test_every_entry_of_the_table_is_checked(path: Path) -> None:
    """Entries that a program of evil intent could write; their checksums are right or not."""
    whole = path.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    name = "model.output.bias"
    for key, value in [
        ("dtype", "F16"), ("dtype", None), ("shape", [-1]), ("shape", [2**60]), ("shape", "x"),
        ("shape", [1] * 30), ("shape", [1.0]), ("shape", [True]), ("data_offsets", [0, 0]),
        ("data_offsets", [4, 2]), ("data_offsets", [0, 2**47]), ("data_offsets", [0]),
    ]:  # fmt: skip
        header = json.loads(whole[8 : 8 + length])
        header[name][key] = value
        raw = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(raw)) + raw + whole[8 + length :])
        with pytest.raises(InvalidBundle):
            read_header(path)


def test_headers_keep_what_they_were_given(make_bundle: BundleMaker) -> None:
    header = make_bundle().header.model_copy(
        update={"metrics": {"full_valid_loss": 1.25}, "corpus": {"sha256": "x"}, "documents": True}
    )
    assert BundleHeader.model_validate_json(header.model_dump_json()) == header
