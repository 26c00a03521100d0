"""The settings as others may see them: numbers and choices as they are, all else masked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from worker.settings import Settings

# Texts of which every possible value is harmless; a new one is masked until it stands here.
PLAIN = frozenset(("device", "log_format", "generation_weights"))
LEAST_SECRET = 8  # characters; shorter ones are found by chance in any text


def masked(settings: Settings) -> dict[str, Any]:
    """Name to value, ``set`` or ``not set``; of a URL its scheme."""
    return {name: _masked(name, getattr(settings, name)) for name in Settings.model_fields}


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, bool | int | float) or name in PLAIN:
        return value
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")
    if not text:
        return "not set"
    scheme, mark, _ = text.partition("://")
    return f"{scheme}://…" if name.endswith("_url") and mark and scheme.isascii() else "set"


def secrets_of(settings: Settings) -> set[str]:
    """What must stand nowhere: keys and passwords, as far as they are known here."""
    return {secret for secret in _secrets(settings) if len(secret) >= LEAST_SECRET}


def _secrets(settings: Settings) -> Iterator[str]:
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, str) and "://" in value:
            password = urlsplit(value).password
            if password:
                yield from (password, unquote(password))
    for path in (settings.home / "credentials", settings.admin_key_file):
        if path is not None and path.is_file():
            yield path.read_text(errors="replace").strip()
