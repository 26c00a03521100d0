import json

from textgen.events import Event, choice


def test_an_event_is_plain_json() -> None:
    event = Event("metrics", "step 1", data={"step": 1})
    assert json.loads(json.dumps(event.as_dict())) == {
        "type": "metrics",
        "message": "step 1",
        "level": "info",
        "data": {"step": 1},
    }


def test_a_choice_says_what_and_why() -> None:
    event = choice("tokenizer", "char", "65 different characters")
    assert event.message == "tokenizer = char: 65 different characters"
    assert event.data == {
        "option": "tokenizer",
        "value": "char",
        "reason": "65 different characters",
    }
