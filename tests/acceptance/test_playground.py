"""The playground in a real Chromium on a real stack: written, branched, undone, and had again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import openai
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.acceptance.browsing import check_page, patient, sign_in
from tests.acceptance.conftest import VERSES, train
from tests.stack import Stack
from tests.vitals import engine_is_idle, soon

pytestmark = pytest.mark.browser

Find = Callable[[str], WebElement]


@pytest.fixture
def find(browser: webdriver.Chrome) -> Find:
    return lambda selector: browser.find_element(By.CSS_SELECTOR, selector)


def fill(find: Find, **values: object) -> None:
    for name, value in values.items():
        find(f"#{name}").clear()
        find(f"#{name}").send_keys(str(value))


def press(browser: webdriver.Chrome, place: WebElement, *keys: str) -> None:
    """Keys from where the focus comes to, though what is there may be no wider than a space."""
    browser.execute_script("arguments[0].focus()", place)
    ActionChains(browser).send_keys(*keys).perform()


def until(browser: webdriver.Chrome, ready: Callable[[], Any]) -> Any:
    return patient(browser).until(lambda _: ready())


def write(browser: webdriver.Chrome, find: Find, button: str = "#start-writing") -> None:
    """Click, and wait for the end of what is written."""
    browser.execute_script(
        "document.querySelectorAll('[data-part=figures]').forEach((each) => each.textContent = '')"
    )
    find(button).click()
    until(browser, lambda: "reached" in find("#left [data-part=figures]").text)
    until(browser, lambda: not find("#stop-writing").is_enabled())


def written(find: Find, pane: str = "left") -> str:
    return str(find(f"#{pane} .written").get_property("textContent"))


@pytest.mark.parametrize("width", [1440, 390])
def test_a_text_is_written_branched_undone_and_had_again(
    browser: webdriver.Chrome, stack: Stack, model: str, find: Find, width: int
) -> None:
    sign_in(browser, stack, f"/playground?model={model}&max_tokens=40", width)
    check_page(browser)
    fill(find, prompt="The king ")
    write(browser, find)

    first = written(find)
    figures = find("#left [data-part=figures]").text
    assert first.startswith("The king ") and len(first) == len("The king ") + 40
    assert "40 tokens" in figures and "tokens/s" in figures and "seed" in figures
    check_page(browser)

    find("#left [data-do=keep]").click()
    assert find("#seed").get_property("value") in browser.current_url
    write(browser, find)
    assert written(find) == first
    find("#left [data-do=undo]").click()

    # The sixth token by the keyboard alone, then the second likeliest in its place.
    press(browser, find("#left .token[tabindex='0']"), *[Keys.ARROW_RIGHT] * 5, Keys.ENTER)
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#left .choice:not(span)"))
    check_page(browser)
    choice = browser.find_elements(By.CSS_SELECTOR, "#left button.choice")[1]
    token = choice.text
    press(browser, choice, Keys.ENTER)
    until(browser, lambda: "reached" in find("#left [data-part=figures]").text)
    until(browser, lambda: len(written(find)) == len("The king ") + 6 + 40)
    branched = written(find)
    assert branched.startswith(first[: len("The king ") + 5])
    assert find("#left .token.taken").text == (token if len(token) == 1 else "")
    check_page(browser)

    write(browser, find, "#left [data-do=continue]")
    assert written(find).startswith(branched) and len(written(find)) == len(branched) + 40
    find("#left [data-do=undo]").click()
    assert written(find) == branched
    find("#left [data-do=undo]").click()
    assert written(find) == first


def focused_token(browser: webdriver.Chrome) -> int:
    """Which token of the left text has the focus; -1 where none has."""
    return int(
        browser.execute_script(
            "return [...document.querySelectorAll('#left .token')].indexOf(document.activeElement)"
        )
    )


def test_who_reads_by_the_keyboard_keeps_the_place(
    browser: webdriver.Chrome, stack: Stack, model: str, find: Find
) -> None:
    sign_in(browser, stack, f"/playground?model={model}&max_tokens=1000", 1440)
    fill(find, prompt="The king ")
    find("#start-writing").click()
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#left .token:nth-child(9)"))
    press(browser, find("#left .token[tabindex='0']"), *[Keys.ARROW_RIGHT] * 5)
    assert focused_token(browser) == 5
    until(browser, lambda: not find("#stop-writing").is_enabled())
    assert focused_token(browser) == 5

    press(browser, find("#left .token[tabindex='0']"), Keys.ENTER)
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#left .choice:not(span)"))
    before = written(find)
    second = browser.find_elements(By.CSS_SELECTOR, "#left button.choice")[1]
    press(browser, second, Keys.ENTER)
    until(browser, lambda: written(find) != before)
    assert focused_token(browser) == 5
    until(browser, lambda: not find("#stop-writing").is_enabled())
    assert focused_token(browser) == 5
    browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert focused_token(browser) == 4


def test_programs_write_the_same_text(
    browser: webdriver.Chrome, stack: Stack, model: str, find: Find
) -> None:
    sign_in(browser, stack, f"/playground?model={model}", 1440)
    fill(
        find, prompt='The "king\'s"\n', temperature="0.7, 1.1", max_tokens=30, min_p=0.01, top_p=0.9
    )
    browser.execute_script("document.querySelector('[data-group=allowed]').open = true")
    fill(find, stop="ZZ\\n", bad_words="sword", logit_bias="1: -2.5, 2: 0.5")
    write(browser, find)
    shown = written(find)

    browser.execute_script("document.getElementById('calls').open = true")
    environment = {**os.environ, "OPENAI_API_KEY": stack.key}
    program = find("#call-python").text
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert 'The "king\'s"\n' + ran.stdout.removesuffix("\n") == shown
    called = subprocess.run(
        ["bash", "-c", f"{find('#call-curl').text} -s -f"], env=environment, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.removesuffix("\n") in called.stdout.replace("\\n", "\n")


def test_two_temperatures_beside_each_other_and_a_link_to_them(
    browser: webdriver.Chrome, stack: Stack, model: str, find: Find
) -> None:
    sign_in(browser, stack, f"/playground?model={model}&temperature=0&max_tokens=30&seed=5", 1440)
    find("#beside").click()
    fill(find, other_temperature=2, prompt="A fool ")
    write(browser, find)
    left, right = written(find), written(find, "right")
    assert left != right and find("#right h2").text == "temperature 2"

    browser.get(browser.current_url)
    assert find("#prompt").get_property("value") == ""
    fill(find, prompt="A fool ")
    write(browser, find)
    assert (written(find), written(find, "right")) == (left, right)


def test_stopping_ends_the_work_and_keeps_the_text(
    browser: webdriver.Chrome, stack: Stack, model: str, find: Find
) -> None:
    sign_in(browser, stack, f"/playground?model={model}", 1440)
    fill(find, prompt="The night ", max_tokens=500_000)
    find("#start-writing").click()
    until(browser, lambda: len(written(find)) > 100)
    find("#stop-writing").click()
    until(browser, lambda: "stopped" in find("#left [data-part=figures]").text)
    length = len(written(find))
    assert soon(lambda: engine_is_idle(stack))
    assert len(written(find)) == length
    assert find("#left [data-do=continue]").is_enabled()


def test_what_the_api_refuses_stands_beside_its_field(
    browser: webdriver.Chrome, stack: Stack, model: str, find: Find
) -> None:
    sign_in(browser, stack, f"/playground?model={model}", 1440)
    fill(find, top_p=7)
    find("#start-writing").click()
    problem = until(browser, lambda: find("#top_p-problem"))
    assert "7" in problem.text and find("#top_p").get_attribute("aria-invalid") == "true"
    fill(find, top_p=1)
    assert browser.find_elements(By.ID, "top_p-problem") == []

    find("#gap summary").click()
    assert find("#no-gaps").is_displayed()
    fill(find, prompt="The king ", suffix=" the sea.")
    find("#start-writing").click()
    assert "infill" in until(browser, lambda: find("#suffix-problem")).text
    browser.get_log("browser")  # the refusals
    check_page(browser)


def test_a_gap_is_filled(
    browser: webdriver.Chrome, stack: Stack, client: openai.OpenAI, find: Find
) -> None:
    filler = train(client, "gaps.txt", VERSES, max_steps=20, objectives={"causal": 1, "infill": 1})
    sign_in(browser, stack, f"/playground?model={filler}&max_tokens=12", 1440)
    find("#gap summary").click()
    assert not find("#no-gaps").is_displayed()
    fill(find, prompt="The king speaks", suffix=" the sea.")
    find("#start-writing").click()
    until(browser, lambda: "tokens" in find("#left [data-part=figures]").text)
    until(browser, lambda: not find("#stop-writing").is_enabled())

    assert written(find).startswith("The king speaks") and written(find).endswith(" the sea.")
    assert not find("#left [data-do=continue]").is_enabled()
    find("#left .token").click()
    assert "no branches" in find("#left .alternatives").text
    assert browser.find_elements(By.CSS_SELECTOR, "#left button.choice") == []
    check_page(browser)
