"""Models, comparisons, the doctor's page and uploads in a real Chromium, by clicks."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import title_contains, url_contains

from tests.acceptance.browsing import check_page, chromium, patient, sign_in
from tests.acceptance.conftest import TINY_STEPS, train_twice
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WIDTHS = pytest.mark.parametrize("width", [1440, 390])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    yield from chromium(tmp_path_factory.mktemp("profile"))


def look_at(browser: webdriver.Chrome, folder: Path, name: str) -> None:
    """Check a page, and keep pictures of it, light and dark, for people to look at."""
    check_page(browser)
    size = browser.execute_script(
        "const page = document.documentElement; return [innerWidth, page.scrollHeight]"
    )
    clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], 4000), "scale": 1}
    for scheme in ("dark", "light"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        shot = browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
        (folder / f"{name}-{size[0]}-{scheme}.png").write_bytes(b64decode(shot["data"]))


def wait_for_url(browser: webdriver.Chrome, part: str) -> None:
    patient(browser).until(url_contains(part))


def click(browser: webdriver.Chrome, selector: str) -> None:
    """Also where the page puts a newer part of itself in the element's place meanwhile."""

    def clicked(page: webdriver.Chrome) -> bool:
        element = page.find_element(By.CSS_SELECTOR, selector)
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()
        return True

    patient(browser).until(clicked)


def test_a_model_is_looked_at_imported_and_deleted(
    browser: webdriver.Chrome,
    stack: Stack,
    http: httpx.Client,
    model: str,
    tmp_path: Path,
) -> None:
    file = tmp_path / "away.safetensors"
    file.write_bytes(http.get(f"/v1/models/{model}/content").content)
    sign_in(browser, stack, f"/models?q={model}", 1440)
    look_at(browser, tmp_path, "models")
    click(browser, f'tr[data-model="{model}"] a')
    wait_for_url(browser, "/models/ft:lstm-tiny")
    look_at(browser, tmp_path, "model")

    browser.get(f"{stack.base_url}/models")
    click(browser, "details.more summary")
    browser.find_element(By.ID, "file").send_keys(str(file))
    click(browser, "details.more button.main")
    wait_for_url(browser, "/models/ft:imported")
    check_page(browser)
    browser.find_element(By.ID, "name").send_keys("away")
    click(browser, "form.fields button")
    patient(browser).until(title_contains("away"))
    click(browser, "a.danger")
    wait_for_url(browser, "/delete")
    look_at(browser, tmp_path, "delete")
    assert "away" in browser.find_element(By.TAG_NAME, "main").text
    click(browser, "button.danger")
    patient(browser).until(lambda page: page.current_url.endswith("/models"))
    assert http.get("/v1/models/away").status_code == 404


def test_trainings_are_compared(
    browser: webdriver.Chrome,
    stack: Stack,
    client: openai.OpenAI,
    verses_file: str,
    tmp_path: Path,
) -> None:
    jobs = train_twice(client, verses_file)
    sign_in(browser, stack, "/jobs?kind=training&state=succeeded", 390)
    look_at(browser, tmp_path, "jobs")
    for job in jobs:
        box = browser.find_element(By.CSS_SELECTOR, f'input[name="ids[]"][value="{job}"]')
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
        box.click()
    click(browser, "#compare button")
    wait_for_url(browser, "/trainings/compare")
    look_at(browser, tmp_path, "compare")
    assert len(browser.find_elements(By.CSS_SELECTOR, "#loss-chart path.line")) == 4
    ends = [each.text for each in browser.find_elements(By.CSS_SELECTOR, "#loss-chart text.end")]
    assert sorted(ends) == ["A", "A", "B", "B"]
    click(browser, "nav a[href*='x=tokens']")
    wait_for_url(browser, "x=tokens")
    check_page(browser)


def test_a_running_training_tells_its_rate_and_not_the_last_of_its_plan(
    browser: webdriver.Chrome, stack: Stack, client: openai.OpenAI, verses_file: str
) -> None:
    job = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=verses_file,
        extra_body={"hyperparameters": {**TINY_STEPS, "max_steps": 1_000_000}},
    ).id
    sign_in(browser, stack, f"/jobs/{job}", 1440)
    try:
        patient(browser).until(
            lambda page: (
                page.find_elements(By.CSS_SELECTOR, "#rate-chart path.faint")
                and float(page.find_element(By.ID, "rate-legend").text.split()[-1]) > 0
            )
        )
    finally:
        client.fine_tuning.jobs.cancel(job)


@WIDTHS
def test_from_the_doctor_to_a_training(
    browser: webdriver.Chrome, stack: Stack, verses_file: str, width: int, tmp_path: Path
) -> None:
    sign_in(browser, stack, f"/corpora/{verses_file}", width)
    check_page(browser)
    click(browser, "form[action$='/examine'] button")
    patient(browser).until(
        lambda page: (
            page.find_elements(By.CSS_SELECTOR, "#live[data-live]") == []
            and page.find_elements(By.CSS_SELECTOR, "td a.button.main")
        )
    )
    look_at(browser, tmp_path, "corpus")
    click(browser, "td a.button.main")
    wait_for_url(browser, "/trainings/new")
    patient(browser).until(
        lambda page: page.find_element(By.CSS_SELECTOR, "[data-part=time]").text != "–"
    )
    look_at(browser, tmp_path, "training")
    click(browser, "details.more summary")
    look_at(browser, tmp_path, "options")


def test_an_upload_goes_on_where_it_broke_off(
    browser: webdriver.Chrome, stack: Stack, http: httpx.Client, tmp_path: Path
) -> None:
    data = b"to be or not to be, that is the question\n" * 250_000
    file = tmp_path / "hamlet.txt"
    file.write_bytes(data)
    os.utime(file, (1_750_000_000, 1_750_000_000))
    begun = {"filename": file.name, "purpose": "fine-tune", "bytes": len(data)}
    upload = http.post("/v1/uploads", json={**begun, "mime_type": "text/plain"}).json()["id"]
    part = {"data": ("part", data[: 4 * 2**20])}
    assert http.post(f"/v1/uploads/{upload}/parts", files=part).status_code == 200
    sign_in(browser, stack, "/corpora", 1440)
    look_at(browser, tmp_path, "corpora")
    name = f"textgen-upload:{file.name}:{len(data)}:1750000000000"
    browser.execute_script("localStorage.setItem(arguments[0], arguments[1])", name, upload)

    browser.find_element(By.ID, "file").send_keys(str(file))
    click(browser, "#upload button.main")
    wait_for_url(browser, "/trainings/new?file=")

    file_id = browser.current_url.rpartition("=")[2]
    assert http.get(f"/v1/files/{file_id}/content").content == data
    assert http.get(f"/v1/uploads/{upload}").json()["status"] == "completed"
    check_page(browser)
