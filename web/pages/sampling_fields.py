"""The sampling options as fields of a form: bounds and defaults are those of their model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from textgen.sampling_options import SamplingOptions
from web.pages.language import _

FieldKind = Literal["integer", "number", "numbers", "flag", "texts", "integers", "biases"]

ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}

# Parameters of the official client's `completions.create`; it sends others by `extra_body`.
OF_THE_CLIENT = frozenset(
    (
        "frequency_penalty",
        "logit_bias",
        "max_tokens",
        "presence_penalty",
        "seed",
        "stop",
        "temperature",
        "top_p",
    )
)

GROUPS: tuple[tuple[str, Callable[[], str], tuple[str, ...]], ...] = (
    (
        "wild",
        lambda: _("How wild"),
        ("temperature", "top_p", "top_k", "min_p", "typical_p", "seed"),
    ),
    (
        "long",
        lambda: _("How long"),
        (
            "max_tokens",
            "min_tokens",
            "stop",
            "stop_token_ids",
            "include_stop_str_in_output",
            "ignore_eos",
        ),
    ),
    (
        "before",
        lambda: _("What was said before"),
        (
            "frequency_penalty",
            "presence_penalty",
            "repetition_penalty",
            "no_repeat_ngram_size",
            "reject_if_copied_over",
        ),
    ),
    (
        "allowed",
        lambda: _("What may be said at all"),
        ("logit_bias", "allowed_token_ids", "bad_words", "allowed_words"),
    ),
)


def hints() -> Mapping[str, str]:
    """What each option does, for people."""
    return {
        "temperature": _("0 takes the likeliest token; of 0.3, 1.2 the tokens take turns."),
        "top_p": _("The smallest set of likeliest tokens with this mass."),
        "top_k": _("Only the k likeliest tokens; 0 for all."),
        "min_p": _("Only tokens with this part of the likeliest one's chance."),
        "typical_p": _("The tokens nearest to the expected surprise, with this mass."),
        "seed": _("The same seed makes the same text. Empty: one is chosen and shown."),
        "max_tokens": _("The longest text, in tokens."),
        "min_tokens": _("Nothing ends the text before so many tokens."),
        "stop": _("Texts that end it, one a line; \\n is a line break."),
        "stop_token_ids": _("Ids of tokens that end it, with commas."),
        "include_stop_str_in_output": _("What ended the text is part of it."),
        "ignore_eos": _("Go on where a document ends."),
        "frequency_penalty": _("Off a token's logit for each time that the text has it."),
        "presence_penalty": _("Off a token's logit once the text has it."),
        "repetition_penalty": _("Over 1: less of what prompt or text have said."),
        "no_repeat_ngram_size": _("No so many tokens in a row come twice; 0 for any."),
        "reject_if_copied_over": _(
            "No more characters in a row are copied from the training text; for models trained "
            "with copy_index."
        ),
        "logit_bias": _("Added to the logits of token ids: 7: -5, 12: 3"),
        "allowed_token_ids": _("No other tokens are drawn; ids with commas."),
        "bad_words": _("Texts that do not come, one a line."),
        "allowed_words": _("The text is made of these, one a line."),
    }


@dataclass(frozen=True)
class OptionField:
    """An option on a form. ``least`` and ``most`` are what a number may be, where that is bound."""

    name: str
    kind: FieldKind
    hint: str
    bounds: str  # for people
    default: str  # of the API, where a model has none of its own; empty where there is none
    least: float | None
    most: float | None
    of_the_client: bool


@dataclass(frozen=True)
class FieldGroup:
    """Options that belong together."""

    name: str
    title: str
    fields: tuple[OptionField, ...]


def option_fields(names: tuple[str, ...]) -> list[OptionField]:
    """Some of the options, in this order."""
    schema = SamplingOptions.model_json_schema()["properties"]
    said = hints()
    return [_field(each, schema[each], said[each]) for each in names]


def field_groups() -> list[FieldGroup]:
    """All sampling options, in the reader's language."""
    return [FieldGroup(name, title(), tuple(option_fields(names))) for name, title, names in GROUPS]


def _field(name: str, schema: Mapping[str, Any], hint: str) -> OptionField:
    shapes = _shapes(schema)
    shape = shapes[0]
    above = shape.get("exclusiveMinimum")
    least = shape.get("minimum", above)
    default = schema.get("default")
    shown = "" if default in (None, [], {}) or isinstance(default, bool) else f"{default:g}"
    return OptionField(
        name=name,
        kind=_kind(shapes),
        hint=hint,
        bounds=_bounds(shape, above is not None),
        default=shown,
        least=least,
        most=shape.get("maximum"),
        of_the_client=name in OF_THE_CLIENT,
    )


def _shapes(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a value may be beside null; where it may be several texts, those alone."""
    shapes = [each for each in schema.get("anyOf", (schema,)) if each.get("type") != "null"]
    texts = [each for each in shapes if each.get("items", {}).get("type") == "string"]
    return texts if texts else shapes


def _kind(shapes: list[Mapping[str, Any]]) -> FieldKind:
    shape = shapes[0]
    if shape["type"] == "array":
        return "texts" if shape["items"]["type"] == "string" else "integers"
    if len(shapes) > 1:
        return "numbers"
    kinds: Mapping[str, FieldKind] = {
        "integer": "integer",
        "number": "number",
        "boolean": "flag",
        "object": "biases",
    }
    return kinds[shape["type"]]


def _bounds(shape: Mapping[str, Any], above: bool) -> str:
    """As "0 to 2"; empty where there is nothing to say."""
    least, most = shape.get("minimum", shape.get("exclusiveMinimum")), shape.get("maximum")
    count = shape.get("maxItems", shape.get("maxProperties"))
    if count is not None:
        return _("up to %(count)s") % {"count": f"{count:,}"}
    if most is not None and most >= 2**53:
        return _("any whole number of 64 bits")
    if least is not None and most is not None:
        bounds = _("above %(least)s to %(most)s") if above else _("%(least)s to %(most)s")
        return bounds % {"least": f"{least:,}", "most": f"{most:,}"}
    if least is not None:
        return _("from %(least)s") % {"least": f"{least:,}"}
    return ""


def options_of(fields: Mapping[str, str], names: tuple[str, ...]) -> dict[str, Any]:
    """The options of these names that a form has filled in, checked; raises InvalidOption.

    Of texts there is one a line, with ``\\n`` for a line break; numbers have commas between them.
    """
    schema = SamplingOptions.model_json_schema()["properties"]
    given = {
        name: _split(fields[name], _kind(_shapes(schema[name])))
        for name in names
        if fields.get(name, "").strip()
    }
    checked = SamplingOptions.parse(given)
    return checked.model_dump(mode="json", include=set(given))


def _split(text: str, kind: FieldKind) -> Any:
    if kind == "texts":
        lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
        return [re.sub(r"\\([nrt\\])", lambda found: ESCAPES[found[1]], line) for line in lines]
    if kind in ("numbers", "integers"):
        parts = [part for part in re.split(r"[\s,，]+", text) if part]
        return parts[0] if kind == "numbers" and len(parts) == 1 else parts
    return text.strip()
