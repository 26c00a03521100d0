"""Pictures of the dashboard for its page in the documentation.

    python -m tests.screenshots [--seconds 40]

A whole stack in a temporary home, with a text made up here, a training and a few texts; Chromium
shows its pages at 1440 and at 390 pixels and writes them to docs/screenshots as WebP. What is
there is overwritten, so that a change of the look is a change of these files.
"""

from __future__ import annotations

import argparse
import base64
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait

from tests.acceptance.browsing import chromium, sign_in
from tests.stack import QUICK, ROOT, Stack, completion_lines, wait_for

FOLDER = ROOT / "docs" / "screenshots"
QUALITY = 70  # of the WebP
MOST_HEIGHT = 1400
PATIENCE = 1200  # for the first training, on a machine that is busy
# Name, path, width, whether dark.
PAGES = (
    ("overview", "/", 1440, False),
    ("corpus", "/corpora/{file}", 1440, False),
    ("new-training", "/trainings/new?file={file}", 1440, False),
    ("job", "/jobs/{job}", 1440, False),
    ("job-dark", "/jobs/{job}", 1440, True),
    ("job-phone", "/jobs/{job}", 390, False),
    ("model", "/models/{model}", 1440, False),
    ("new-batch", "/batches/new", 1440, False),
    ("batch", "/batches/{batch}", 1440, False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=40, help="of the training")
    seconds = parser.parse_args().seconds
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "home")
        for name in QUICK:
            del stack.environment[name]
        with stack, browser_in(Path(folder) / "profile") as browser:
            ids = work(stack, seconds)
            sign_in(browser, stack, "/", 1440)
            for name, path, width, dark in PAGES:
                show(browser, stack.base_url + path.format_map(ids), width, dark=dark)
                picture(browser, name, width)
            write(browser, stack)
            picture(browser, "playground", 1440)


def work(stack: Stack, seconds: float) -> dict[str, str]:
    """Something to look at: what is done with a corpus and a model; the ids of all."""
    client = stack.client()
    file = client.files.create(file=("tales.txt", tales(6000).encode()), purpose="fine-tune")
    hyperparameters = {"max_seconds": seconds / 2}
    done = client.fine_tuning.jobs.create(
        model="lstm-tiny",
        training_file=file.id,
        seed=1,
        suffix="tales",
        extra_body={"hyperparameters": hyperparameters, "alias": "tales"},
    )
    model = wait_for(client, done.id, seconds=PATIENCE).fine_tuned_model
    with stack.http() as http:
        http.post("/v1/examinations", json={"file": file.id}).raise_for_status()
    for name, scopes in (("website", ["read", "generate"]), ("nightly batches", ["generate"])):
        with stack.http() as http:
            path = "/v1/organization/projects/default/api_keys"
            http.post(path, json={"name": name, "scopes": scopes}).raise_for_status()
    for prompt in ("The miller", "Once", "A fox"):
        client.completions.create(model="tales", prompt=prompt, max_tokens=300)
    lines = client.files.create(
        file=("prompts.jsonl", completion_lines("tales", 300, max_tokens=40)), purpose="batch"
    )
    batch = client.batches.create(
        input_file_id=lines.id, endpoint="/v1/completions", completion_window="24h"
    )
    running = client.fine_tuning.jobs.create(
        model="lstm-small",
        training_file=file.id,
        seed=2,
        extra_body={"hyperparameters": {"max_seconds": 20 * seconds}},
    )
    time.sleep(seconds)
    return {"file": file.id, "model": str(model), "batch": batch.id, "job": running.id}


def tales(number: int) -> str:
    """Sentences that a small model learns within seconds."""
    chance = random.Random(1)
    who = ("The miller", "A fox", "The old king", "My sister", "A stranger", "The gardener")
    what = ("found", "lost", "carried", "sang of", "dreamt of", "sold")
    thing = ("a silver bell", "the winter", "two red apples", "a letter", "the sea", "nothing")
    where = ("by the river", "in the tower", "at dawn", "under the oak", "before the feast")
    return "\n".join(
        f"{chance.choice(who)} {chance.choice(what)} {chance.choice(thing)} {chance.choice(where)}."
        for _ in range(number)
    )


@contextmanager
def browser_in(profile: Path) -> Iterator[webdriver.Chrome]:
    yield from chromium(profile)


def show(browser: webdriver.Chrome, url: str, width: int, *, dark: bool) -> None:
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    resize(browser, width, 900)
    browser.get(url)
    browser.find_element(By.CSS_SELECTOR, "main.page")
    time.sleep(2)  # streams have brought what there is


def write(browser: webdriver.Chrome, stack: Stack) -> None:
    """A text in the playground, and the alternatives of one of its tokens."""
    query = "model=tales&max_tokens=120&temperature=0.8&seed=3"
    show(browser, f"{stack.base_url}/playground?{query}", 1440, dark=False)
    browser.find_element(By.ID, "prompt").send_keys("The old king ")
    browser.find_element(By.ID, "start-writing").click()
    figures = (By.CSS_SELECTOR, "#left [data-part=figures]")
    WebDriverWait(browser, 30).until(text_to_be_present_in_element(figures, "reached"))
    browser.find_elements(By.CSS_SELECTOR, "#left .token")[9].click()
    choices = (By.CSS_SELECTOR, "#left .choice")
    WebDriverWait(browser, 30).until(lambda at: at.find_elements(*choices))


def resize(browser: webdriver.Chrome, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def picture(browser: webdriver.Chrome, name: str, width: int) -> None:
    """The page that is open, as high as it is, up to a bound."""
    height = browser.execute_script("return document.documentElement.scrollHeight")
    resize(browser, width, min(MOST_HEIGHT, height))
    time.sleep(0.5)
    taken = browser.execute_cdp_cmd(
        "Page.captureScreenshot", {"format": "webp", "quality": QUALITY}
    )
    path = FOLDER / f"{name}.webp"
    path.write_bytes(base64.b64decode(taken["data"]))
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
