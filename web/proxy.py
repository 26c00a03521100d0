"""Serving under a public address that is not our own: behind a proxy, perhaps under a path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def behind_proxy(application: WSGIApplication, public_url: str) -> WSGIApplication:
    """The application as seen from ``public_url``; whether the proxy cuts the path off or not."""
    public = urlsplit(public_url)
    prefix = public.path.rstrip("/")

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.url_scheme"] = public.scheme
        environ["HTTP_HOST"] = public.netloc
        path = environ.get("PATH_INFO", "")
        if prefix and (path == prefix or path.startswith(prefix + "/")):
            environ["PATH_INFO"] = path[len(prefix) :]
        environ["SCRIPT_NAME"] = prefix
        return application(environ, start_response)

    return serve
