"""The pages in a real Chromium: sign in with the key, see the jobs, no script or policy error."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.stack import Stack

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium on the PATH: `make browser` installs Debian's")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield running
    running.quit()


@pytest.mark.parametrize("width", [1440, 390])
def test_sign_in_and_overview(
    browser: webdriver.Chrome, stack: Stack, model: str, width: int, tmp_path: Path
) -> None:
    browser.set_window_size(width, 900)
    browser.delete_all_cookies()
    browser.get(stack.base_url)
    field = browser.find_element(By.CSS_SELECTOR, "input[type=password]")
    field.send_keys(stack.key)
    field.submit()

    page = browser.find_element(By.TAG_NAME, "body")
    assert model in page.text
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= browser.execute_script("return window.innerWidth")
    browser.save_screenshot(str(tmp_path / "overview.png"))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_api_page_shows_the_routes(browser: webdriver.Chrome, stack: Stack) -> None:
    browser.get(f"{stack.base_url}/docs")

    assert "/v1/completions" in browser.find_element(By.TAG_NAME, "body").text
