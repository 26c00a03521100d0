import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import textgen
from textgen import TextGenerator, generate_text, make_batches, preprocess_data, train
from textgen.errors import InvalidCorpus, InvalidOption, TrainingDiverged

REPO = Path(__file__).resolve().parents[2]
TEXT = "我是一名程序员，我写代码。" * 8


def trained(text: str = TEXT, epochs: int = 60) -> tuple[TextGenerator, textgen.article.Tokenizer]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ids, tokenizer = preprocess_data(text)
        model = TextGenerator(tokenizer.vocab_size, 16, 48)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        losses = train(
            model, make_batches(ids, 2, 16), nn.CrossEntropyLoss(), optimizer, num_epochs=epochs
        )
    assert losses[-1] < losses[0] / 4
    return model, tokenizer


def test_the_example_runs_and_writes_its_text_again(capsys: pytest.CaptureFixture[str]) -> None:
    with torch.random.fork_rng(devices=[]):
        names = runpy.run_path(str(REPO / "examples" / "article.py"))
        text = names["main"]()
    assert text.startswith("我是一名")
    assert len(text) == 34
    sentences = names["TEXT"]
    assert all(text[i : i + 4] in sentences for i in range(len(text) - 3))
    assert text in capsys.readouterr().out


def test_chinese_text_becomes_one_id_a_character_and_back() -> None:
    ids, tokenizer = preprocess_data("我是一名程序员")
    assert ids.dtype == torch.int64
    assert ids.shape == (7,)
    assert tokenizer.decode(ids.numpy()) == "我是一名程序员"


def test_a_trained_model_goes_on_as_its_text_does() -> None:
    model, tokenizer = trained()
    assert generate_text(model, "我是", 11, tokenizer=tokenizer, temperature=0) == TEXT[:13]


def test_text_is_the_same_for_the_same_seed_and_leaves_the_generators_alone() -> None:
    model, tokenizer = trained(epochs=20)
    state = torch.get_rng_state()
    draw = [
        generate_text(model, "我", 40, tokenizer=tokenizer, temperature=2.0, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert draw[0] == draw[1] != draw[2]
    assert torch.equal(state, torch.get_rng_state())


def test_without_repeats_every_character_is_new_while_there_are_any() -> None:
    model, tokenizer = trained()
    room = tokenizer.vocab_size - 2  # less unknown and end
    text = generate_text(model, "我", room - 1, tokenizer=tokenizer, no_repeat=True)
    assert len(set(text)) == len(text) == room
    assert len(generate_text(model, "我", room + 5, tokenizer=tokenizer, no_repeat=True)) > room


def test_any_data_loader_of_pairs_will_do() -> None:
    ids, tokenizer = preprocess_data("abcd" * 50)
    pairs = TensorDataset(ids[:160].view(10, 16), ids[1:161].view(10, 16))
    loader = DataLoader(pairs, batch_size=4)  # the last batch is smaller
    model = TextGenerator(tokenizer.vocab_size, 8, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = train(model, loader, nn.CrossEntropyLoss(), optimizer, 5)
    assert len(losses) == 5
    assert losses[-1] < losses[0]


def test_batches_go_on_where_the_one_before_ended() -> None:
    batches = make_batches(torch.arange(101), 4, 10)
    rows = torch.cat([x for x, _ in batches], 1)
    assert rows.tolist() == np.arange(100).reshape(4, 25).tolist()
    assert torch.cat([y for _, y in batches], 1).tolist() == (rows + 1).tolist()


def test_what_cannot_work_says_why() -> None:
    with pytest.raises(InvalidCorpus, match="at least 2"):
        preprocess_data("x")
    with pytest.raises(InvalidOption, match="take a smaller one"):
        make_batches(torch.arange(5), 8, 2)
    ids, tokenizer = preprocess_data("abcd" * 20)
    model = TextGenerator(tokenizer.vocab_size, 8, 16)
    with torch.no_grad():
        model.output.bias[0] = torch.nan
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TrainingDiverged, match="smaller learning rate"):
        train(model, make_batches(ids, 2, 8), nn.CrossEntropyLoss(), optimizer, 1)


def test_importing_the_package_loads_no_torch_until_a_name_is_used() -> None:
    code = (
        "import sys, textgen; assert 'torch' not in sys.modules; "
        "textgen.generate_text; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True)
    assert set(textgen.__all__) <= set(dir(textgen))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = textgen.nothing
