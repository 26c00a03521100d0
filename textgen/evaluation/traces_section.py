"""The section of a report that shows a text token by token, and what single units do along it."""

from __future__ import annotations

from textgen.evaluation.heat_text import HeatPiece, heat_text
from textgen.evaluation.markup import table
from textgen.evaluation.report import Report, TokenTrace, Traces, UnitTrace

_MOST_NATS = 8.0  # the strongest colour


def traces_section(report: Report) -> str:
    """Nothing where there are no traces."""
    found = report.traces
    if found is None:
        return ""
    rows = [
        (each.unit, f"{each.spread:.3f}",
         ", ".join(f"{kind} ({value:+.2f})" for kind, value in each.kinds.items()))
        for each in found.units
    ]  # fmt: skip
    return (
        "<p>How surprising each token was: the stronger the colour, the less likely the model "
        f"found it; the strongest is {_MOST_NATS:g} nats and more. Point at a token for its figure "
        "and for the likeliest ones in its place.</p>"
        + heat_text("Surprise, token by token", map(_surprise, found.tokens))
        + "<p>Units of the LSTM: c is a cell through tanh, h what the layer gives out; then the "
        "layer and the unit. Correlations are with kinds of characters; each is the greatest of "
        "all cells, so in a short text some of it is chance.</p>"
        + table(("unit", "standard deviation", "goes with"), rows)
        + "".join(_unit(each, found) for each in found.units)
    )


def _surprise(token: TokenTrace) -> HeatPiece:
    if token.nats is None:
        return HeatPiece(token.text, 0.0, "read first")
    likely = ", ".join(f"{each.text!r} {each.probability:.2f}" for each in token.likeliest)
    strength = -min(token.nats / _MOST_NATS, 1.0)
    return HeatPiece(token.text, strength, f"{token.nats:.2f} nats; likeliest: {likely}")


def _unit(found: UnitTrace, traces: Traces) -> str:
    pieces = (
        HeatPiece(token.text, value, f"{value:+.2f}")
        for token, value in zip(traces.tokens, found.values, strict=True)
    )
    return f"<h3>{found.unit}</h3>" + heat_text(f"Unit {found.unit} along the text", pieces)
