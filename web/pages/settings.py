"""/settings: what the service runs with, what the project may use, and the reader's own choices."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from flask import Response
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from web.auth import is_operator, key
from web.pages import figures
from web.pages.language import _
from web.pages.page import Pages, render
from web.pages.projects import project_of
from web.services import current
from worker.settings import Settings
from worker.tenants.tenants import Tenant

settings_pages = Pages("settings_pages", __name__)

HIDDEN = "••••••"


@dataclass(frozen=True)
class Setting:
    """One of the server's, as it may be shown."""

    name: str  # of the environment variable
    value: str
    changed: bool
    meaning: str


@settings_pages.page("GET /settings", "Settings, for people", "read")
def index() -> Response:
    """The server's are the operator's to see."""
    project = project_of("")
    return render(
        "settings.html",
        project=project,
        limits=_limits(project),
        own=key(),
        settings=_settings(current().settings) if is_operator() else [],
        operator=is_operator(),
    )


def _settings(settings: Settings) -> list[Setting]:
    """All of them, secrets left out."""
    return [
        Setting(
            "PORT" if name == "port" else f"TEXTGEN_{name.upper()}",
            _shown(getattr(settings, name)),
            getattr(settings, name) != field.default,
            _meaning(field),
        )
        for name, field in Settings.model_fields.items()
    ]


def _meaning(field: FieldInfo) -> str:
    return field.description or ""


def _shown(value: object) -> str:
    """A setting's value; of a secret whether there is one, of an address no password."""
    if isinstance(value, SecretStr):
        return HIDDEN if value.get_secret_value() else ""
    text = "" if value is None else str(value)
    if "://" not in text:
        return text
    return without_secrets(text)


def without_secrets(url: str) -> str:
    """An address without the password and the query, which may hold others."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if at:
        name, colon, _password = user.partition(":")
        user = f"{name}:{HIDDEN}" if colon else name
    query = HIDDEN if parts.query else ""
    return urlunsplit((parts.scheme, f"{user}{at}{host}", parts.path, query, ""))


def _limits(project: Tenant) -> list[tuple[str, str]]:
    """What the project may use; empty for no bound."""
    names = {
        "requests_per_minute": _("Requests a minute"),
        "characters_per_minute": _("Characters a minute"),
        "tokens_per_minute": _("Tokens a minute"),
        "characters_per_month": _("Characters a month"),
        "tokens_per_month": _("Tokens a month"),
        "compute_seconds_per_month": _("Compute seconds a month"),
        "concurrent_completions": _("Texts asked for at once"),
        "running_jobs": _("Jobs that run at once"),
        "queued_jobs": _("Jobs that wait at once"),
    }
    limits = project.limits
    found = [
        (named, "" if getattr(limits, name) is None else figures.number(getattr(limits, name)))
        for name, named in names.items()
    ]
    stored = limits.storage_bytes
    found.append((_("Stored bytes"), "" if stored is None else figures.size(stored)))
    budget = project.monthly_budget
    if budget is not None:
        found.append((_("Budget a month"), f"{budget:,.2f} {project.currency}"))
    return found
