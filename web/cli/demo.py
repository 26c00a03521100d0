"""``make demo``: from nothing to text in a few minutes, through the parts that production uses.

It starts the whole stack, uploads a text, trains a model as a job, runs a batch of prompts and
prints some of what came back. Nothing stays running; the model stays in TEXTGEN_HOME.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from threading import Event, Thread
from typing import Any

import click
from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from textgen.errors import TextgenError
from web.batch_lines import ENDPOINT, texts_of, write_requests
from web.cli.api import Api, find_server, path_of
from web.cli.batch import fetch, start
from web.cli.batch_files import merge
from web.cli.demo_corpus import gather
from web.cli.follow import Left, follow
from web.cli.generate import defaults_of
from web.cli.language import _, said
from web.cli.spoken_help import in_language, show
from web.cli.stack import Stack
from web.cli.terminal import size, span
from web.cli.up import command_name, home_prefix
from web.cli.uploads import files_for_a_request
from worker.settings import Settings, load_settings

TRAINING_SECONDS = 75.0
PROMPTS = 100
SHOWN = 4
NAME = "demo"
SEED = 20260101  # which prompts are drawn, so that two demos can be compared


@click.command(epilog="Example: make demo CORPUS=novels.txt")
@click.option("--corpus", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seconds", type=float, default=TRAINING_SECONDS, show_default=True)
def demo(corpus: Path | None, seconds: float) -> int:
    """Train a model on real text and let it continue a hundred prompts."""
    console = Console(markup=False, highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end it in the same way
    settings = demo_settings(load_settings())
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path = settings.home / "demo.log"
    with log_path.open("w") as log, Stack(settings, log) as stack:
        console.print(_("Starting the service (its log: %(file)s)") % {"file": log_path})
        stack.start()
        running = _("It runs at %(url)s with a Redis of its own, SQLite and files")
        console.print(running % {"url": stack.url})
        with _kept_running(stack):
            code = _show(Api(find_server(stack.settings)), console, settings.home, corpus, seconds)
        console.print(_("Stopping the service"))
        stack.drain()
    if code == 0:
        _say_what_next(console, settings)
    return code


def demo_settings(settings: Settings) -> Settings:
    """The user's settings, on a free port, with this stack as the server and no other."""
    return settings.model_copy(update={"port": 0, "base_url": "", "api_key": SecretStr("")})


def _show(api: Api, console: Console, home: Path, corpus: Path | None, seconds: float) -> int:
    began = time.monotonic()
    path = _corpus(console, home, corpus)
    trained = _train(api, console, path, seconds)
    if trained is None:
        return 1
    code = _batch(api, console, path)
    if code == 0:
        took = span(time.monotonic() - began)
        console.print(_("All of this took %(time)s.") % {"time": took})
    return code


def _corpus(console: Console, home: Path, given: Path | None) -> Path:
    if given is not None:
        return given
    target = home / "demo" / "python-standard-library.txt"
    written = gather(target)
    told = _("Gathered a text: the sources of Python's standard library, %(size)s")
    console.print(told % {"size": size(written)})
    return target


def _train(api: Api, console: Console, path: Path, seconds: float) -> dict[str, Any] | None:
    with files_for_a_request(api, console) as store:
        body = {
            "model": "lstm-auto",
            "training_file": store(path, "fine-tune"),
            "hyperparameters": {"max_seconds": seconds},
            "alias": NAME,
        }
        job = api.post("/v1/fine_tuning/jobs", body)
    told = {"time": span(seconds), "job": job["id"]}
    console.print(_("Training for %(time)s as job %(job)s") % told)
    ended = _follow(api, job["id"], console)
    if ended["state"] != "succeeded":
        error = ended["error"] if ended["error"] is not None else {"message": ended["state"]}
        problem = _("The training did not succeed: %(message)s")
        console.print(problem % {"message": said(error["message"])}, style="red")
        return None
    trained: dict[str, Any] = api.get(f"/v1/fine_tuning/jobs/{job['id']}")
    told = {"model": trained["fine_tuned_model"], "name": NAME}
    console.print(_("Trained: %(model)s, which the name '%(name)s' means now") % told)
    return trained


def _follow(api: Api, job_id: str, console: Console) -> dict[str, Any]:
    """Follow a job; Ctrl-C ends it too, so that the next start finds nothing half done."""
    try:
        return follow(api, job_id, console)
    except Left:
        console.print("\n" + _("Stopping"))
        api.post(path_of("jobs", job_id, "cancel"))
        raise


def _batch(api: Api, console: Console, corpus: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="textgen-demo-") as name:
        folder = Path(name)
        requests = folder / "requests.jsonl"
        defaults = {"model": NAME, **defaults_of(api, NAME), "max_tokens": 300}
        write_requests(_requests(prompts_of(corpus), defaults), requests)
        job = start(api, requests, console)
        told = {"count": PROMPTS, "job": job["id"]}
        console.print(_("Continuing %(count)s prompts as batch %(job)s") % told)
        began = time.monotonic()
        _follow(api, job["id"], console)
        finished = api.get(path_of("batches", job["id"]))
        output, errors = fetch(api, finished, folder)
        _print_texts(console, requests, list(merge(requests, output, errors)))
    counts = finished["request_counts"]
    continued = _("%(completed)s of %(total)s prompts continued in %(time)s")
    console.print("\n" + continued % {**counts, "time": span(time.monotonic() - began)})
    return 0 if finished["status"] == "completed" and counts["failed"] == 0 else 1


def _requests(prompts: list[str], defaults: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for index, prompt in enumerate(prompts):
        body = {**defaults, "prompt": prompt, "seed": index}
        yield {"custom_id": f"{index}", "method": "POST", "url": ENDPOINT, "body": body}


def prompts_of(corpus: Path, count: int = PROMPTS, most_bytes: int = 4_000_000) -> list[str]:
    """Beginnings of lines drawn from the text, or of it as a whole where it has few lines."""
    with corpus.open("rb") as file:
        text = file.read(most_bytes).decode("utf-8", errors="ignore")
    lines = sorted({line[:40] for line in text.splitlines() if len(line.strip()) >= 8})
    if not lines:
        lines = [text[:40]]
    return [random.Random(SEED + i).choice(lines) for i in range(count)]  # noqa: S311  no secret


def _print_texts(console: Console, requests: Path, results: list[dict[str, Any]]) -> None:
    with requests.open(encoding="utf-8") as file:
        asked = {line["custom_id"]: line["body"]["prompt"] for line in map(json.loads, file)}
    for result in results[:: max(1, len(results) // SHOWN)][:SHOWN]:
        for text, _reason in texts_of(result):
            console.print()
            prompt = asked[result["custom_id"]]
            shown = Text(indent(prompt + text, "  ", lambda line: True))  # noqa: ARG005
            shown.stylize("bold", 2, 2 + len(prompt))
            console.print(shown, soft_wrap=True)


@contextmanager
def _kept_running(stack: Stack) -> Iterator[None]:
    """Watch the stack's processes from a thread while the demo talks to it."""
    done = Event()

    def watch() -> None:
        while not done.is_set():
            stack.turn()

    thread = Thread(target=watch, name="stack")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _say_what_next(console: Console, settings: Settings) -> None:
    command = command_name(settings)
    console.print("\n" + _("Go on with:"))
    console.print(f"  {home_prefix(settings)}make serve", soft_wrap=True)
    console.print(f'  {command} generate {NAME} "import "', soft_wrap=True)
    console.print(f"  {command} train YOUR.txt --name mine", soft_wrap=True)


def main() -> None:
    """Run the demo and exit with its code."""
    try:
        code = in_language(demo).main(standalone_mode=False)
    except (Left, KeyboardInterrupt, click.Abort):
        sys.exit(1)
    except click.ClickException as error:
        show(error)
        sys.exit(2)
    except TextgenError as error:
        sys.exit(_("Error: %(message)s") % {"message": said(error.message)})
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
