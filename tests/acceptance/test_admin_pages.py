"""Pages of workers, usage, keys and settings in a real Chromium, on a stack that works."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.acceptance.browsing import check_page, chromium, patient, sign_in
from tests.stack import Stack

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    yield from chromium(tmp_path_factory.mktemp("profile"))


def click(browser: webdriver.Chrome, selector: str) -> None:
    browser.find_element(By.CSS_SELECTOR, selector).click()


def text_of(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.CSS_SELECTOR, "main").text


def wait_for_text(browser: webdriver.Chrome, text: str) -> None:
    patient(browser).until(lambda at: text in text_of(at))


def test_what_works_is_seen(
    browser: webdriver.Chrome, stack: Stack, client: openai.OpenAI, model: str
) -> None:
    """The workers of a stack, what one's engine has loaded, and what a text has used."""
    client.completions.create(model=model, prompt="The king", max_tokens=20)

    sign_in(browser, stack, "/workers", 1440)
    wait_for_text(browser, model)
    assert "trains" in text_of(browser) and "writes texts" in text_of(browser)
    wait_for_text(browser, "0 texts run, 0 wait")
    browser.get(f"{stack.base_url}/usage?by=model")
    assert model in text_of(browser)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_a_key_is_made_and_revoked_by_clicks(
    browser: webdriver.Chrome, stack: Stack, width: int
) -> None:
    sign_in(browser, stack, "/keys", width)
    click(browser, "header .button.main")
    browser.find_element(By.ID, "name").send_keys("website")
    click(browser, "main button.main")
    wait_for_text(browser, "This is shown this once")
    check_page(browser)
    secret = browser.find_element(By.ID, "secret").text
    assert openai.OpenAI(base_url=f"{stack.base_url}/v1", api_key=secret).models.list().data
    assert browser.find_element(By.CSS_SELECTOR, "[data-copy=secret]").is_displayed()

    browser.get(f"{stack.base_url}/keys/{secret.split('_')[1]}")
    check_page(browser)
    click(browser, "header button.danger")
    browser.switch_to.alert.accept()
    wait_for_text(browser, "New key")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{stack.base_url}/v1", api_key=secret, max_retries=0).models.list()
