import pytest

from textgen.errors import InvalidOption
from textgen.options import Hyperparameters
from web.cli.train import read_settings


def test_a_number_is_an_epsilon() -> None:
    options = Hyperparameters.parse({"privacy": 3})
    assert options.privacy is not None
    assert options.privacy.epsilon == 3
    assert options.validation_fraction == 0
    given = {"privacy": {"epsilon": 3.0}, "validation_fraction": 0.0}
    assert read_settings(("privacy=3",)) == given
    assert Hyperparameters.parse(given) == options
    assert Hyperparameters.parse({}).validation_fraction == 0.1


def test_what_is_held_out_by_wish_stays_so() -> None:
    options = Hyperparameters.parse({"privacy": {"epsilon": 3}, "validation_fraction": 0.2})
    assert options.validation_fraction == 0.2


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"privacy": 0}, "privacy.epsilon"),
        ({"privacy": {"epsilon": -1}}, "privacy.epsilon"),
        ({"privacy": {}}, "privacy.epsilon"),
        ({"privacy": {"epsilon": 3, "delta": 1}}, "privacy.delta"),
        ({"privacy": {"epsilon": 3, "noise": 1}}, "privacy.noise"),
        ({"privacy": {"epsilon": 3, "max_document_tokens": 5000}}, "privacy.max_document_tokens"),
        ({"privacy": "much"}, "privacy"),
        ({"privacy": True}, "privacy"),
        ({"privacy": 3, "tokenizer": "char"}, "tokenizer"),
        ({"privacy": 3, "tokenizer": "bpe"}, "tokenizer"),
        ({"privacy": 3, "vocab_size": 300}, "vocab_size"),
        ({"privacy": 3, "objectives": ["causal", "infill"]}, "objectives"),
        ({"privacy": 3, "dropout": 0.1}, "dropout"),
        ({"privacy": 3, "weight_dropout": 0.1}, "weight_dropout"),
        ({"privacy": 3, "sequence_length": 64}, "sequence_length"),
        ({"privacy": 3, "gradient_clip": 1.0}, "gradient_clip"),
        ({"privacy": 3, "deduplicate": "near"}, "deduplicate"),
        ({"privacy": 3, "replay_fraction": 0.2}, "replay_fraction"),
        ({"privacy": 3, "precision": "bfloat16"}, "precision"),
        ({"privacy": 3, "softmax": "sampled"}, "softmax"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidOption) as error:
        Hyperparameters.parse(values, within="hyperparameters")
    assert error.value.param == f"hyperparameters.{param}"
