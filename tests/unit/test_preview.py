import torch

from tests.random_models import BundleMaker
from textgen.engine.preview import preview


def test_without_a_text_it_begins_with_a_token_that_was_learnt_from(
    make_bundle: BundleMaker,
) -> None:
    bundle = make_bundle(spread=4.0)
    model, tokenizer = bundle.model, bundle.tokenizer
    after_line = preview(model, tokenizer, 30, seed_text="\n", seed=3)
    with torch.no_grad():  # one text has no end in it, so this was never trained
        model.embedding.weight[tokenizer.end_id] = 50.0

    assert preview(model, tokenizer, 30, seed=3) == after_line
    assert preview(model, tokenizer, 30, seed=3, documents=True) != after_line


def test_where_a_document_ends_the_next_begins_on_a_line_of_its_own(
    make_bundle: BundleMaker,
) -> None:
    bundle = make_bundle(spread=4.0)
    model, tokenizer = bundle.model, bundle.tokenizer
    with torch.no_grad():
        model.output.bias[tokenizer.end_id] = 3.0
    written = preview(model, tokenizer, 200, seed=3, documents=True)

    ends = 200 - len(written.replace("\n", ""))
    assert written.count("\n") == ends > 10
    assert len(set(written.splitlines())) > 5
