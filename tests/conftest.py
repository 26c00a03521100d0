"""Fixtures that all tests share."""

import os

import pytest
from _pytest.terminal import TerminalReporter

from tests.random_models import make_bundle

os.environ["LC_ALL"] = "C.UTF-8"  # what is said is English, whoever runs the tests

__all__ = ["make_bundle"]


class FailuresAtOnce:
    """A line of each failure as it happens, for a run that is ended before it can tell of them."""

    def __init__(self, terminal: TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = (crash.message if crash else report.longreprtext).split("\n", 1)[0]
            self._terminal.ensure_newline()
            self._terminal.line(f"FAILED {report.nodeid} ({report.when}): {said}", red=True)


@pytest.hookimpl(trylast=True)  # after the terminal has its reporter
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal and config.option.verbose <= 0 and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(terminal), "failures_at_once")
