"""The form of an API key, and where the first admin key comes from."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from worker.errors import InvalidSetting
from worker.settings import Settings
from worker.storage.artifact_backends import make_folders, sync_folder

CREDENTIALS = "credentials"
_FORM = re.compile(r"tg_([a-z0-9]{1,64})_([A-Za-z0-9_-]{16,256})")


def make_key() -> str:
    """A new random key: 64 bits of name, 256 bits of secret."""
    return f"tg_{secrets.token_hex(8)}_{secrets.token_urlsafe(32)}"


def split_key(plaintext: str) -> tuple[str, str]:
    """Id and secret of a key; raises ValueError."""
    form = _FORM.fullmatch(plaintext)
    if form is None:
        raise ValueError("not an API key")
    return form[1], form[2]


def digest_of(secret: str) -> bytes:
    """What is stored of a secret; it is random, so one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).digest()


def admin_key(settings: Settings) -> str:
    """The admin key given by the settings, else the one in the home, made at the first start."""
    given, source = settings.admin_key.get_secret_value(), "TEXTGEN_ADMIN_KEY"
    if not given and settings.admin_key_file is not None:
        source = "TEXTGEN_ADMIN_KEY_FILE"
        try:
            given = settings.admin_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidSetting(
                f"{source} is {str(settings.admin_key_file)!r}, which cannot be read: {error}.",
                param=source,
            ) from error
    if not given:
        source = str(settings.home / CREDENTIALS)
        given = _kept(settings.home / CREDENTIALS)
    try:
        split_key(given)
    except ValueError:
        raise InvalidSetting(
            f"{source} holds no API key: one looks like tg_<id>_<secret>, with an id of small "
            "letters and digits and a secret of at least 16 letters, digits, '-' and '_'.",
            param=source,
        ) from None
    return given


def _kept(path: Path) -> str:
    """The line in the file, which is made with a new key, for its owner alone, if need be."""
    make_folders(path.parent)
    if not path.exists():
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(make_key() + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(FileExistsError):  # another process was faster
                os.link(temporary, path)
        finally:
            Path(temporary).unlink()
        sync_folder(path.parent)
    return path.read_text().strip()
