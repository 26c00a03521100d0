"""Of the page of a report how well classes are told apart."""

from __future__ import annotations

from textgen.evaluation.markup import percent, table
from textgen.evaluation.report import Classes, Report


def classes_section(report: Report) -> str:
    """Figures, classes and which are taken for which; nothing where there are none."""
    found = report.classes
    if found is None:
        return ""
    means = [
        (name, *map(percent, (mean.precision, mean.recall, mean.f1)))
        for name, mean in (("each class the same", found.macro), ("by texts", found.weighted))
    ]
    classes = [
        (each.label, f"{each.texts:,}", *map(percent, (each.precision, each.recall, each.f1)))
        for each in found.classes
    ]
    return (
        f"<p>{found.texts:,} texts of {len(found.classes):,} classes: accuracy "
        f"{percent(found.accuracy)}, log loss {found.log_loss:.4f} nats a text, expected "
        f"calibration error {found.calibration_error:.4f}.</p>"
        + table(("mean over the classes", "precision", "recall", "F1"), means)
        + table(("class", "texts", "precision", "recall", "F1"), classes)
        + _confusion(found)
    )


def _confusion(found: Classes) -> str:
    """The matrix, or of many classes the most frequent confusions."""
    if found.confusion:
        labels = [each.label for each in found.classes]
        rows = [
            (label, *(f"{count:,}" if count else "" for count in counts))
            for label, counts in zip(labels, found.confusion, strict=True)
        ]
        return "<p>Right class by row, found class by column:</p>" + table(("", *labels), rows)
    rows = [(each.label, each.found, f"{each.texts:,}") for each in found.most_confused]
    return table(("class", "taken for", "texts"), rows) if rows else ""
