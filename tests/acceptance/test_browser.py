"""The pages in a real Chromium: sign in with the key, see the jobs, no script or policy error."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import url_contains

from tests.acceptance.browsing import check_page, patient
from tests.stack import Stack, wait_for

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1440, 390])
def test_sign_in_and_overview(
    browser: webdriver.Chrome, stack: Stack, width: int, tmp_path: Path
) -> None:
    browser.set_window_size(width, 900)
    browser.delete_all_cookies()
    browser.get(stack.base_url)
    field = browser.find_element(By.CSS_SELECTOR, "input[type=password]")
    field.send_keys(stack.key)
    field.submit()

    page = browser.find_element(By.TAG_NAME, "body")
    assert "Overview" in page.text
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= browser.execute_script("return window.innerWidth")
    browser.save_screenshot(str(tmp_path / "overview.png"))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_from_a_file_to_a_training_by_clicks(
    browser: webdriver.Chrome, stack: Stack, client: openai.OpenAI, width: int, tmp_path: Path
) -> None:
    text = tmp_path / "hamlet.txt"
    text.write_text("to be or not to be, that is the question\n" * 200)
    browser.set_window_size(width, 900)
    browser.delete_all_cookies()
    browser.get(f"{stack.base_url}/corpora")
    field = browser.find_element(By.CSS_SELECTOR, "input[type=password]")
    field.send_keys(stack.key)
    field.submit()

    check_page(browser)
    browser.find_element(By.ID, "file").send_keys(str(text))
    browser.find_element(By.CSS_SELECTOR, "main button.main").click()
    patient(browser).until(url_contains("/trainings/new"))
    check_page(browser)
    seconds = browser.find_element(By.ID, "hyperparameters.max_seconds")
    seconds.clear()
    seconds.send_keys("1")
    browser.find_element(By.CSS_SELECTOR, "main button.main").click()

    patient(browser).until(url_contains("/jobs/ftjob-"))
    assert "hamlet.txt" in browser.find_element(By.TAG_NAME, "h1").text
    check_page(browser)
    wait_for(client, browser.current_url.rsplit("/", 1)[1])  # it writes files until its end
