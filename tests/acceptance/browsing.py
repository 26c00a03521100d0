"""A real Chromium for tests of pages, and what every page is looked at for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.stack import PATIENCE, Stack


def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """A headless one, until it is not needed any more; skips the test where there is none."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium on the PATH: `make browser` installs Debian's")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    running.set_script_timeout(PATIENCE)  # axe reads every node of a page
    yield running
    running.quit()


def patient(browser: webdriver.Chrome) -> WebDriverWait[webdriver.Chrome]:
    """Waits, and looks again where a newer page or part has come in the place of what it saw."""
    return WebDriverWait(browser, PATIENCE, ignored_exceptions=[StaleElementReferenceException])


def sign_in(browser: webdriver.Chrome, stack: Stack, path: str, width: int) -> None:
    """Open a page as somebody who comes with the key."""
    browser.set_window_size(width, 900)
    browser.delete_all_cookies()
    browser.get(f"{stack.base_url}{path}")
    field = browser.find_element(By.CSS_SELECTOR, "input[type=password]")
    field.send_keys(stack.key)
    field.submit()
    page = (By.CSS_SELECTOR, "main.page")
    patient(browser).until(lambda at: at.find_elements(*page))


def check_page(browser: webdriver.Chrome, *, alike: str = "") -> None:
    """Not wider than the window, no error or violation of the policy told, and accessible.

    ``alike`` selects what is like what is looked at: a long page takes axe half a minute.
    """
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= browser.execute_script("return window.innerWidth"), browser.current_url
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == [], browser.current_url
    context = {"exclude": [[alike]]} if alike else None
    found = Axe().run(browser, context)["violations"]
    serious = [each["id"] for each in found if each["impact"] in ("serious", "critical")]
    assert serious == [], browser.current_url
