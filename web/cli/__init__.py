"""The command line ``textgen``: a client of the HTTP API, but for ``up``, ``worker`` and ``db``."""


def main() -> None:
    """Run the command line; a missing module of it must not slow the start of the others."""
    from web.cli.app import run

    run()
