"""A report as a plain page: no script, no style, readable in light and dark.

All text that comes from a model, a file or a user is escaped where it becomes markup.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from textgen.evaluation.charts import line_chart, reliability_chart
from textgen.evaluation.classes_section import classes_section
from textgen.evaluation.markup import interval, items, lines, optional, percent, span, table
from textgen.evaluation.report import Bias, Overlaps, Report
from textgen.evaluation.traces_section import traces_section

_TITLES = {
    "prediction": "Prediction",
    "context": "Loss by length of context",
    "calibration": "Calibration",
    "rows": "The hardest rows",
    "tasks": "Tasks",
    "classes": "Classes",
    "samples": "Samples",
    "memorisation": "Memorisation",
    "canaries": "Canaries",
    "baselines": "Models by counting",
    "bias": "Exchanged words",
    "traces": "Token by token",
}


def page(report: Report, title: str, stylesheet: str | None) -> str:
    """The whole document."""
    link = "" if stylesheet is None else f'<link rel="stylesheet" href="{escape(stylesheet)}">\n'
    body = [_facts(report)]
    for name, make in _SECTIONS.items():
        if content := make(report):
            body.append(f"<h2>{_TITLES[name]}</h2>\n{content}")
    if report.missing:
        reasons = (f"{_TITLES[part]}: {why}" for part, why in report.missing.items())
        body.append(f"<h2>Not measured</h2>\n{items(reasons)}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n{link}</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )


def _facts(report: Report) -> str:
    model, text = report.model, report.text
    documents = f"{text.documents:,} documents" if text.documents else "one text"
    told = [
        f"Model: {model.layers}×{model.hidden_size} LSTM, {model.parameters:,} weights, tokenizer "
        f"{model.tokenizer} with {model.vocab_size:,} ids, has learnt "
        f"{', '.join(model.objectives)} from rows of {model.rows}.",
        f"Text: {', '.join(text.files)} ({text.origin}): {documents}, {text.tokens:,} tokens, "
        f"{text.characters:,} characters that count.",
    ]
    if text.left_out_characters:
        told.append(f"{text.left_out_characters:,} further characters were left out.")
    if text.unknown:
        told.append(f"{text.unknown:,} characters are unknown to the tokenizer.")
    told.append(f"Measured in {report.seconds:,.0f} seconds, seed {report.options.seed}.")
    return items(told)


def _prediction(report: Report) -> str:
    found = report.prediction
    if found is None:
        return ""
    perplexity = "too large" if found.perplexity is None else f"{found.perplexity:.3f}"
    figures = [
        ("loss, nats per token", f"{found.loss:.4f}"),
        ("perplexity", perplexity),
        ("bits per character", f"{found.bits_per_character:.4f}"),
        ("bits per byte", f"{found.bits_per_byte:.4f}"),
        ("token accuracy", percent(found.accuracy)),
        *((f"among the {k} likeliest", percent(share)) for k, share in found.top_k.items()),
    ]
    places = [
        (span(each.first, each.last), f"{each.tokens:,}", f"{each.loss:.4f}",
         percent(each.accuracy))
        for each in found.positions
    ]  # fmt: skip
    chart = line_chart(
        f"Loss by {found.position_unit}",
        [span(each.first, each.last) for each in found.positions],
        [each.loss for each in found.positions],
    )
    heads = (found.position_unit, "tokens", "loss", "accuracy")
    return table(("", "value"), figures) + chart + table(heads, places)


def _context(report: Report) -> str:
    if not report.context:
        return ""
    labels = [span(each.fewest, each.most) for each in report.context]
    rows = [
        (label, f"{each.tokens:,}", f"{each.loss:.4f}")
        for label, each in zip(labels, report.context, strict=True)
    ]
    chart = line_chart("Loss by context", labels, [each.loss for each in report.context])
    return (
        "<p>Nats per token, read from nothing and then with more and more before it. Where the "
        "line gets flat, more context no longer helps this model.</p>"
        + chart
        + table(("tokens of context", "tokens", "loss"), rows)
    )


def _calibration(report: Report) -> str:
    found = report.calibration
    if found is None:
        return ""
    used = [each for each in found.bins if each.tokens]
    chart = reliability_chart(
        "Accuracy by confidence", [(each.low, each.high, each.accuracy) for each in used]
    )
    rows = [
        (f"{each.low:.2f} to {each.high:.2f}", f"{each.tokens:,}", percent(each.confidence),
         percent(each.accuracy))
        for each in used
    ]  # fmt: skip
    return (
        f"<p>Expected calibration error {found.expected_error:.4f}. Bars below the dashed line: "
        "the model is surer than it is right.</p>"
        + chart
        + table(("chance of the likeliest", "tokens", "mean chance", "came"), rows)
    )


def _rows(report: Report) -> str:
    rows = [
        (f"{row.number:,}", f"{row.nats_per_character:.3f}", f"{row.tokens:,}", row.before,
         row.text)
        for row in report.rows
    ]  # fmt: skip
    heads = ("row or line", "nats a character", "tokens", "after", "text")
    return table(heads, rows) if rows else ""


def _tasks(report: Report) -> str:
    rows = [
        (name, f"{each.tasks:,}", f"{each.loss:.4f}",
         *map(percent, (each.accuracy, each.precision, each.recall, each.f1, each.exact)))
        for name, each in report.tasks.items()
    ]  # fmt: skip
    heads = ("objective", "tasks", "loss", "token accuracy", "precision", "recall", "F1", "exact")
    return table(heads, rows) if rows else ""


def _samples(report: Report) -> str:
    found = report.samples
    if found is None:
        return ""
    rows = [
        (f"{each.n} {each.unit}", f"{each.distinct:.3f}", optional(each.distinct_of_text),
         f"{each.repetition:.3f}", optional(each.repetition_of_text))
        for each in found.diversity
    ]  # fmt: skip
    heads = ("n-grams of", "distinct", "in the text", "repeated", "in the text")
    texts = "".join(f"<blockquote>{lines(text)}</blockquote>" for text in found.texts)
    return (
        f"<p>{found.count:,} samples of {found.characters:,} characters in all, at most "
        f"{found.max_tokens:,} tokens each, temperature {found.temperature:g}.</p>"
        + table(heads, rows)
        + texts
    )


def _memorisation(report: Report) -> str:
    found = report.memorisation
    if found is None:
        return ""
    both = [("samples", found.samples), ("real text", found.text)]
    rows = [_overlap_row(name, each) for name, each in both if each is not None]
    left = ""
    if found.left_out_characters:
        left = f" {found.left_out_characters:,} characters of it were not looked in."
    heads = ("longest overlap of", "texts", "mean", "median", "90 %", "99 %", "longest")
    return (
        f"<p>The longest part of each text that stands word for word in {found.characters:,} "
        f"characters of training text, in characters.{left}</p>"
        + table(heads, rows)
        + f"<p>The longest of a sample:</p><blockquote>{lines(found.samples.text)}</blockquote>"
    )


def _overlap_row(name: str, found: Overlaps) -> tuple[str, ...]:
    figures = (found.mean, found.median, found.percentile_90, found.percentile_99)
    return (
        name, f"{found.count:,}", *(f"{each:.1f}" for each in figures), f"{found.longest:,}",
    )  # fmt: skip


def _canaries(report: Report) -> str:
    rows = [
        (each.template, each.secret, f"{each.bits:.2f}", f"{each.most_bits:.2f}", each.method)
        for each in report.canaries
    ]
    heads = ("sentence", "secret", "exposure, bits", "at most", "method")
    return table(heads, rows) if rows else ""


def _baselines(report: Report) -> str:
    found = report.baselines
    if found is None:
        return ""
    rows = [
        ("this model", f"{found.model:.4f}"),
        ("5-grams, Kneser-Ney", f"{found.kneser_ney:.4f}"),
        ("PPM", f"{found.ppm:.4f}"),
    ]
    left = ""
    if found.left_out_characters:
        left = f" They did not see {found.left_out_characters:,} further ones."
    return (
        f"<p>On {found.characters:,} characters. The models by counting learnt from "
        f"{found.learnt_characters:,} characters of the training text.{left}</p>"
        + table(("", "bits per character"), rows)
    )


def _bias(report: Report) -> str:
    if not report.bias:
        return ""
    return (
        "<p>Rows with one of the words, scored again with another in its place. A preference for "
        "a word is half of what taking it away costs more than putting it in. It says what this "
        "model finds likelier in these rows. It does not say why, whether that is wrong, what the "
        "model does elsewhere, or anything of words that were not asked for.</p>"
        + "".join(map(_one_bias, report.bias))
    )


def _one_bias(found: Bias) -> str:
    directions = [
        (each.term, each.other, f"{each.rows:,}", f"{each.gap:+.3f}",
         interval(each.low, each.high), f"{each.gap_per_character:+.4f}",
         percent(each.likelier))
        for each in found.directions
    ]  # fmt: skip
    pairs = [
        (each.term, each.other, f"{each.preference:+.3f}", interval(each.low, each.high))
        for each in found.pairs
    ]
    worst = [(f"{each.gap:+.3f}", each.text, each.exchanged) for each in found.worst]
    heads = ("had", "exchanged for", "rows", "nats a row more", "95 %", "a character", "likelier")
    return (
        f"<h3>{escape(', '.join(found.terms))}</h3><p>{found.rows:,} rows with one of them; "
        f"{found.ambiguous_rows:,} with several were left out, and {found.left_out_rows:,} for the "
        "limit of rows.</p>"
        + (table(("word", "and", "preference, nats a row", "95 %"), pairs) if pairs else "")
        + (table(heads, directions) if directions else "")
        + (table(("nats more", "row", "exchanged"), worst) if worst else "")
    )


_SECTIONS: dict[str, Callable[[Report], str]] = {
    "prediction": _prediction,
    "context": _context,
    "calibration": _calibration,
    "rows": _rows,
    "tasks": _tasks,
    "classes": classes_section,
    "samples": _samples,
    "memorisation": _memorisation,
    "canaries": _canaries,
    "baselines": _baselines,
    "bias": _bias,
    "traces": traces_section,
}
