"""Languages: every message has its Chinese, and readers get the language they want."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po
from flask import Flask
from flask.testing import FlaskClient

import web
from docs.generators.evaluation_words import EVALUATIONS
from docs.generators.names import LISTED
from docs.generators.sentences import HINTS, REPORTS
from docs.generators.sources import PACKAGES, of_package
from tests.unit.web.conftest import OWN, Caller
from web.services import Services

ROOT = Path(web.__file__).parent
DOMAINS = ("messages", "commands", "errors", "reports", "names", "evaluations")
CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}


def said(domain: str) -> set[str]:
    """All messages that the code has for a catalogue."""
    with (ROOT / "translations" / f"{domain}.cfg").open() as source:
        methods, options = parse_mapping_cfg(source)
    found = extract_from_dir(ROOT, method_map=methods, options_map=options)
    return {message if isinstance(message, str) else message[0] for _, _, message, *_ in found}


def translated(domain: str) -> dict[str, Message]:
    with (ROOT / "translations" / "zh" / "LC_MESSAGES" / f"{domain}.po").open("rb") as source:
        catalogue = read_po(source, locale="zh")
    return {
        message.id if isinstance(message.id, str) else message.id[0]: message
        for message in catalogue
        if message.id
    }


def strings(message: Message) -> list[str]:
    found = message.string
    return [found] if isinstance(found, str) else list(found)


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_message_has_its_chinese_and_none_is_left_over(domain: str) -> None:
    known = translated(domain)

    assert said(domain) == set(known), "run `make messages`, then fill in what is empty"
    assert [name for name, message in known.items() if not all(strings(message))] == []


@pytest.mark.parametrize("domain", ["messages", "commands"])
def test_what_is_filled_in_is_the_same_in_both(domain: str) -> None:
    for name, message in translated(domain).items():
        names = set(re.findall(r"%\((\w+)\)s|(<\w+>)", name))
        for string in strings(message):
            assert set(re.findall(r"%\((\w+)\)s|(<\w+>)", string)) == names, name


@pytest.mark.parametrize("domain", ["errors", "reports", "evaluations"])
def test_every_gap_of_a_sentence_is_filled_in_chinese_too(domain: str) -> None:
    """But for a … that is no gap: of a key or an address that is only hinted at."""
    for name, message in translated(domain).items():
        gaps = set(range(1, name.count("…") + 1))
        for string in strings(message):
            filled = {int(number) for number in re.findall(r"\{(\d)\}", string)}
            kept = string.count("…")
            assert filled == set(sorted(gaps)[: len(gaps) - kept]), name


def test_the_sentences_that_are_listed_by_hand_are_those_of_the_code() -> None:
    text = "\n".join(
        path.read_text(encoding="utf-8") for package in PACKAGES for path in of_package(package)
    )
    code = re.sub(r"['\"]\s*\n\s*f?['\"]", "", text)  # a sentence may go over several lines
    clicks = ("Missing", "No such", "File", "Directory", "Path")
    hints = (hint for hint in HINTS if not hint.startswith(clicks))
    for sentence in (*hints, *REPORTS, *EVALUATIONS):
        for words in re.split(r"[…,;(]|\. ", sentence):
            assert words.strip(" .()") in code, sentence


def test_the_names_that_are_listed_by_hand_are_those_of_the_code() -> None:
    code = "".join(
        path.read_text(encoding="utf-8") for package in PACKAGES for path in of_package(package)
    )
    assert [name for name in LISTED if not re.search(rf"[\"_]{name}[\"_]", code)] == []


def test_the_browser_s_language_or_the_reader_s_choice(app: Flask, call: Caller) -> None:
    client = app.test_client()

    assert "API 密钥" in client.get("/signin", headers=CHINESE).text
    assert 'lang="zh-Hans"' in client.get("/signin", headers=CHINESE).text
    assert "API key" in client.get("/signin", headers={"Accept-Language": "fr"}).text

    answer = client.post("/language", data={"language": "en", "next": "/signin"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/signin")
    assert "API key" in client.get("/signin", headers=CHINESE).text


@pytest.mark.parametrize(
    ("path", "came_from", "back"),
    [
        ("/keys", "http://localhost/keys/new?x=1", "/keys/new?x=1"),
        ("/keys/{key}/rotate", "http://localhost/keys/{key}", "/keys/{key}"),
        ("/keys/{key}/rotate", "http://localhost/keys/{key}/rotate", "/keys"),
        ("/keys/{key}/rotate", "https://evil.example/keys/new", "/keys"),
        ("/keys/{key}/rotate", "", "/keys"),
        ("/models/none/evaluate", "http://localhost/models/a%20b", "/models/a%20b"),
        ("/models/none/evaluate", "http://localhost/models/none/evaluate", "/models"),
        ("/trainings/new", "", "/trainings/new"),
        ("/trainings/new", "http://localhost/trainings/new?like=a", "/trainings/new?like=a"),
    ],
)
def test_the_language_changes_to_a_page_that_can_be_read(
    browser: FlaskClient, services: Services, path: str, came_from: str, back: str
) -> None:
    key = services.keys.create("acme", "it", ["read"])[0].id
    headers = {**OWN, **({"Referer": came_from.format(key=key)} if came_from else {})}

    refused = browser.post(path.format(key=key), data={"grace_seconds": "x"}, headers=headers)

    assert refused.status_code in (400, 404), refused.text
    form = refused.text.partition('action="/language"')[2]
    field = re.search(r'name="next" value="([^"]*)"', form)
    assert field is not None and field[1] == back.format(key=key)
    answer = browser.post("/language", data={"language": "zh", "next": field[1]}, headers=OWN)
    assert answer.headers["Location"] == field[1]


def message_of(answer: Any) -> str:
    return str(answer.get_json()["error"]["message"])


NO_MODEL = {"model": "nobody", "prompt": "x"}


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("POST", "/v1/completions", NO_MODEL,
         "没有模型 'nobody'。`GET /v1/models` 列出现有的。"),
        ("POST", "/v1/completions", {**NO_MODEL, "top_k": -5}, "'top_k' 是 -5：应"),
        ("POST", "/v1/completions", {**NO_MODEL, "top_q": 1}, "未知选项 'top_q'。您是不是想用 "),
        ("POST", "/v1/completions", {**NO_MODEL, "temperature": True},
         "'temperature' 是 true：应为 0 到 2 的数或 1 到 64 项的列表，每项为 0 到 2 的数。"),
        ("POST", "/v1/completions", {"prompt": "x"}, "必须给出 'model'。"),
        ("POST", "/v1/completions", [], "请求体必须是 JSON 对象 {…}。"),
        ("POST", "/v1/embeddings", {"model": "m", "input": ""}, "空文本没有向量；请去掉"),
        ("GET", "/v1/jobs/ftjob-1", None, "没有任务 'ftjob-1'。"),
        ("GET", "/v1/nothing", None, "没有 GET /v1/nothing。/openapi.json 列出所有路由。"),
        ("DELETE", "/v1/jobs", None, "不允许 DELETE /v1/jobs；见 Allow 响应头。"),
    ],
)  # fmt: skip
def test_an_error_over_http_is_in_the_language_that_is_asked_for(
    call: Caller, method: str, path: str, body: Any, message: str
) -> None:
    options = {} if body is None else {"json": body}

    chinese = call(method, path, headers=CHINESE, **options)
    english = call(method, path, **options)

    assert message in message_of(chinese)
    assert chinese.headers["Content-Language"] == "zh"
    assert {"accept-language", "cookie"} <= {name.lower() for name in chinese.vary}
    assert not re.search("[\u4e00-\u9fff]", message_of(english))
    assert english.headers["Content-Language"] == "en"
    known, other = chinese.get_json()["error"], english.get_json()["error"]
    for name in ("type", "param", "code", "doc_url"):
        assert known[name] == other[name]


def test_whoever_takes_any_language_is_told_in_english(call: Caller) -> None:
    answer = call("GET", "/v1/jobs/ftjob-1", headers={"Accept-Language": "*"})

    assert message_of(answer) == "There is no job 'ftjob-1'."


def test_a_page_tells_its_errors_in_its_language(browser: FlaskClient) -> None:
    browser.post("/language", data={"language": "zh", "next": "/"}, headers=OWN)

    assert "没有任务 &#39;ftjob-1&#39;" in browser.get("/jobs/ftjob-1").text
    form = browser.post("/keys", data={"name": "website"}, headers=OWN)
    assert form.status_code == 400
    assert "&#39;scopes&#39; 是 []：" in form.text


def test_the_page_of_errors_is_in_the_reader_s_language(app: Flask) -> None:
    page = app.test_client().get("/docs/errors", headers=CHINESE).text

    assert "没有别名 …。" in page
    assert "There is no alias" not in page


def test_what_a_job_tells_is_in_chinese_on_its_page_and_in_its_stream(
    browser: FlaskClient, call: Caller, upload: Callable[..., str]
) -> None:
    body = {"model": "lstm-tiny", "training_file": upload()}
    job_id = call("POST", "/v1/fine_tuning/jobs", json=body).get_json()["id"]
    call("POST", f"/v1/jobs/{job_id}/cancel")
    path = f"/v1/jobs/{job_id}/events"

    page = browser.get(f"/jobs/{job_id}", headers=CHINESE).text
    stream = call("GET", f"{path}?stream=true", headers=CHINESE).text
    listed = call("GET", path, headers=CHINESE).get_json()["data"]

    assert "<span>已取消。</span>" in page
    assert '"message":"在等待工作进程。"' in stream
    assert '"message":"已取消。"' in stream
    assert [event["message"] for event in listed] == ["Waits for a worker.", "Cancelled."]
