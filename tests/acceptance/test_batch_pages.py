"""A batch by clicks in a real Chromium: dropped, watched, downloaded, its failed line run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import url_contains
from selenium.webdriver.support.select import Select

from tests.acceptance.browsing import check_page, patient, sign_in
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("width", [1440, 390])
def test_from_a_dropped_file_to_answers_and_the_failed_line_again(
    browser: webdriver.Chrome, stack: Stack, model: str, tmp_path: Path, width: int
) -> None:
    rows = [
        *({"prompt": f"The king {number}"} for number in range(600)),
        {"prompt": "x", "top_p": 7},
    ]
    path = tmp_path / "kings.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))

    sign_in(browser, stack, "/batches", width)
    check_page(browser)
    browser.find_element(By.CSS_SELECTOR, "main header a.main").click()
    patient(browser).until(url_contains("/batches/new"))
    check_page(browser)
    # The form offers a model that has a name under it, and one that is asked for as it was asked.
    browser.get(f"{stack.base_url}/models/{model}")
    browser.find_element(By.CSS_SELECTOR, "main header a[href*='/batches/new']").click()
    patient(browser).until(url_contains("/batches/new?model="))
    assert Select(browser.find_element(By.ID, "model")).first_selected_option.text == model
    browser.find_element(By.ID, "file").send_keys(str(path))
    assert "kings.jsonl" in browser.find_element(By.CSS_SELECTOR, "[data-part=chosen]").text
    browser.find_element(By.ID, "max_tokens").send_keys("5")
    browser.find_element(By.CSS_SELECTOR, "main button.main").click()

    patient(browser).until(url_contains("/batches/batch_"))
    first = browser.current_url

    def figures() -> str:
        return browser.find_element(By.CSS_SELECTOR, ".stats").text

    # The page is loaded anew when the state changes.
    wait = patient(browser)
    wait.until(lambda _: "succeeded" in figures())
    assert "601" in figures() and "600" in figures()
    assert "line-601" in browser.find_element(By.ID, "lines").text
    check_page(browser)
    batch_id = first.rpartition("/")[2]
    with stack.http() as http:
        answers = http.get(f"/v1/batches/{batch_id}/output").text.splitlines()
        assert [json.loads(line)["custom_id"] for line in answers] == [
            f"line-{number}" for number in range(1, 601)
        ]
        # The file went in parts, with a bar, and goes away again: its lines are the batch's now.
        sent = http.get("/v1/files", params={"purpose": "user_data"}).json()["data"][0]
        assert (sent["filename"], sent["bytes"]) == ("kings.jsonl", path.stat().st_size)
        assert sent["expires_at"] - sent["created_at"] == 3600

    browser.find_element(By.CSS_SELECTOR, "main header button.main").click()
    wait.until(lambda at: at.current_url != first)
    wait.until(lambda _: "succeeded" in figures())
    assert "kings_failed.jsonl" in browser.find_element(By.CSS_SELECTOR, ".facts").text
    check_page(browser)
