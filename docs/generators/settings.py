"""Every setting with its default and meaning."""

from __future__ import annotations

from worker.settings import Settings


def page() -> str:
    """The page of settings."""
    rows = []
    for name, field in Settings.model_fields.items():
        variable = "PORT" if name == "port" else f"TEXTGEN_{name.upper()}"
        default = "" if str(field.default) in ("**********", "None", "") else f"`{field.default}`"
        rows.append(f"| `{variable}` | {default} | {field.description} |")
    return "\n".join(
        [
            "# Settings",
            "",
            "Read from the environment when a process starts. Times are seconds, sizes bytes.",
            "",
            "| name | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
            "The command line also reads `TEXTGEN_LANGUAGE` (`en` or `zh`; else the locale says) "
            "and `NO_COLOR`.",
            "",
        ]
    )
