"""Pages that change while they are looked at, in a real Chromium: what they ask for, and when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.acceptance.browsing import patient, sign_in
from tests.stack import Stack, wait_for

pytestmark = pytest.mark.browser

# Notes what scripts fetch, and answers pages (not streams) by `window.answerPages` while it is set.
SPY = """
window.fetched = [];
const real = window.fetch;
window.fetch = (url, options) => {
  const streamed = options?.headers?.Accept === "text/event-stream";
  window.fetched.push({ url: String(url), streamed });
  if (!streamed && window.answerPages) {
    return Promise.resolve(new Response("no", { status: window.answerPages }));
  }
  return real(url, options);
};
"""
LONG = {"max_steps": 20_000, "batch_size": 8, "sequence_length": 32}


@pytest.fixture(autouse=True)
def spied(browser: webdriver.Chrome) -> Iterator[None]:
    """Every page has SPY before its own scripts."""
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SPY})
    yield
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


@pytest.fixture
def train(client: openai.OpenAI, verses_file: str) -> Iterator[Callable[[], str]]:
    """Start a training that goes on for minutes, at most until the end of the test."""
    started = []

    def start() -> str:
        job = client.fine_tuning.jobs.create(
            model="lstm-tiny", training_file=verses_file, extra_body={"hyperparameters": LONG}
        )
        started.append(job.id)
        return job.id

    yield start
    for job_id in started:
        client.fine_tuning.jobs.cancel(job_id)


def pages_fetched(browser: webdriver.Chrome, part: str) -> int:
    """How often scripts have fetched an address with ``part`` in it."""
    urls: list[str] = browser.execute_script("return window.fetched.map((each) => each.url)")
    return sum(part in url for url in urls)


def streams_opened(browser: webdriver.Chrome) -> list[str]:
    """The addresses of the event streams that scripts have opened."""
    found: list[str] = browser.execute_script(
        "return window.fetched.filter((each) => each.streamed).map((each) => each.url)"
    )
    return found


def is_same(browser: webdriver.Chrome) -> bool:
    """Whether this is the page that was marked as ``window.same``."""
    return bool(browser.execute_script("return window.same === true"))


def until(browser: webdriver.Chrome, ready: Callable[[], Any]) -> None:
    patient(browser).until(lambda _: ready())


@pytest.mark.parametrize("status", [429, 503])
def test_a_list_stays_while_the_service_does_not_answer(
    browser: webdriver.Chrome, stack: Stack, train: Callable[[], str], status: int
) -> None:
    first = train()
    sign_in(browser, stack, "/jobs?kind=training", 1440)
    box = f'input[name="ids[]"][value="{first}"]'
    browser.find_element(By.CSS_SELECTOR, box).click()
    browser.execute_script("window.answerPages = arguments[0]; window.same = true", status)

    second = train()
    until(browser, lambda: not is_same(browser) or pages_fetched(browser, "kind=training") > 1)
    assert is_same(browser), "it was loaded anew"
    browser.execute_script("window.answerPages = 0")

    row = (By.CSS_SELECTOR, f'[data-job="{second}"]')
    until(browser, lambda: browser.find_elements(*row))
    assert browser.find_element(By.CSS_SELECTOR, box).is_selected()


def test_a_stream_in_place_of_another_is_the_only_one_that_goes_on_with_the_page(
    browser: webdriver.Chrome, stack: Stack, train: Callable[[], str]
) -> None:
    sign_in(browser, stack, "/jobs?kind=training", 1440)
    job = train()
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, f'[data-job="{job}"]'))
    until(browser, lambda: len(streams_opened(browser)) > 1)
    current = browser.execute_script("return document.getElementById('live').dataset.live")

    browser.execute_script(
        """
        window.fetched = [];
        dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
        dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
        """
    )

    assert streams_opened(browser) == [current]


@pytest.mark.parametrize("count", [2, 3])
def test_trainings_that_are_compared_leave_connections_to_the_reader(
    browser: webdriver.Chrome, stack: Stack, train: Callable[[], str], count: int
) -> None:
    jobs = [train() for _ in range(count)]
    sign_in(browser, stack, f"/trainings/compare?ids={','.join(jobs)}", 1440)

    line = (By.CSS_SELECTOR, "#loss-chart path.line")
    until(browser, lambda: any(each.size["width"] > 50 for each in browser.find_elements(*line)))

    assert len(streams_opened(browser)) == (2 if count == 2 else 0)


def test_a_training_that_waits_is_drawn_over_its_tokens_once_it_begins(
    browser: webdriver.Chrome, stack: Stack, client: openai.OpenAI, train: Callable[[], str]
) -> None:
    first, second = train(), train()
    wait_for(client, first, "running")
    sign_in(browser, stack, f"/trainings/compare?ids={second}&x=tokens", 1440)
    known = browser.find_element(By.ID, "loss-chart").get_attribute("data-curves")
    assert json.loads(known or "")[0]["tokens_per_step"] == 0

    client.fine_tuning.jobs.cancel(first)

    line = (By.CSS_SELECTOR, "#loss-chart path.line")
    until(browser, lambda: any(each.size["width"] > 50 for each in browser.find_elements(*line)))
    assert "NaN" not in browser.find_element(By.ID, "loss-chart").get_attribute("innerHTML")
