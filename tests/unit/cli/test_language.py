"""The command line in Chinese: help, tables, hints and errors; else in English."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.unit.cli.service import Service, run, running_service
from web.cli.language import language_of

CHINESE = {"LC_ALL": "", "LANG": "zh_CN.UTF-8"}
HAN = re.compile("[\u4e00-\u9fff]")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running_service(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_GB.UTF-8", "LANGUAGE": "fr:zh_CN:en"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en"}, "en"),
        ({"LANG": "C.UTF-8", "LANGUAGE": "zh"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
    ],
)
def test_the_locale_is_read_as_gettext_reads_it(environment: dict[str, str], language: str) -> None:
    assert language_of(environment) == language


def test_help_is_in_chinese_and_fits_the_terminal(tmp_path: Path) -> None:
    for words in ((), ("train",), ("generate",), ("tenants",), ("admin", "report")):
        found = run(tmp_path, *words, "--help", **CHINESE, COLUMNS="80")

        assert found.returncode == 0
        assert found.stdout.startswith("用法：textgen ")
        assert "显示这段说明后退出" in found.stdout
        assert "Show this message" not in found.stdout
        assert "\ue000" not in found.stdout
        assert max(map(cell_len, found.stdout.splitlines())) <= 80


def test_what_is_asked_for_goes_before_the_locale(tmp_path: Path) -> None:
    assert "用法" in run(tmp_path, "--language", "zh", "jobs", "--help").stdout
    assert "用法" in run(tmp_path, "--help", TEXTGEN_LANGUAGE="zh").stdout
    assert "Usage" in run(tmp_path, "--help", **CHINESE, TEXTGEN_LANGUAGE="en").stdout
    assert "Usage" in run(tmp_path, "--language", "en", "--help", **CHINESE).stdout

    refused = run(tmp_path, "jobs", TEXTGEN_LANGUAGE="latin")
    assert refused.returncode == 2
    assert "'latin' is not one of 'en', 'zh'" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("train",), 2, "错误：缺少参数 'FILE...'。"),
        (("jobs", "list", "--state", "odd"), 2, "'odd' 不是这些之一："),
        (("jobs", "list", "--limit", "0"), 2, "'--limit' 的值无效：0 不在范围 x>=1 内。"),
        (("jobs", "--bad"), 2, "错误：没有选项 '--bad'。"),
        (("nonsense",), 2, "错误：没有命令 'nonsense'。"),
        (("train", "no-such-file"), 2, "文件 'no-such-file' 不存在。"),
        (("alias", "--remove"), 2, "错误：--remove 只需要 NAME，不要别的。"),
        (("train", __file__, "--set", "layer=1"), 2, "未知选项 'layer'。您是不是想用 'layers'？"),
        (("train", __file__, "--set", "layers=0"), 2, "错误：'layers' 是 0：应"),
        (("jobs",), 1, "请在另一个终端用 `textgen up` 启动"),
    ],
)
def test_errors_of_its_own_are_in_chinese(
    tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    found = run(tmp_path, *words, **CHINESE)

    assert found.returncode == code
    assert message in found.stderr
    assert "Error" not in found.stderr


def test_the_server_is_asked_for_errors_in_the_language(service: Service) -> None:
    service.run("jobs", "show", "ftjob-1", **CHINESE)
    service.run("jobs", "show", "ftjob-1")

    assert service.languages == ["zh", "en"]


def test_an_older_server_s_error_is_translated_here(service: Service) -> None:
    error = {"message": "There is no model 'x'. `GET /v1/models` lists those there are."}
    service.put("GET /v1/models/x", {"error": error}, 404)

    said = service.run("models", "show", "x", **CHINESE).stderr

    assert said.strip() == "错误：没有模型 'x'。`textgen models` 列出现有的。"


JOB = {
    "id": "ftjob-1", "kind": "training", "state": "queued", "created_at": 0, "progress": {},
    "waiting": {"reason": "no_worker", "position": 1}, "error": None, "result": None,
}  # fmt: skip


def test_tables_and_hints_are_in_chinese(service: Service) -> None:
    service.put("GET /v1/jobs?limit=20", {"data": [JOB], "has_more": False})

    table = service.run("jobs", **CHINESE).stdout

    assert re.match(r"任务\s+种类\s+状态\s+建立", table)
    assert "训练" in table
    assert "排队中" in table
    assert "等待中：没有工作进程在运行" in table
    assert "排在第 2 位" in table


def test_json_is_the_same_in_every_language(service: Service) -> None:
    service.put("GET /v1/jobs?limit=20", {"data": [JOB], "has_more": False})

    found = service.run("jobs", "list", "--json", **CHINESE).stdout

    assert json.loads(found) == [JOB]
    assert not HAN.search(found)


def test_the_doctor_speaks_chinese(tmp_path: Path) -> None:
    text = tmp_path / "names.txt"
    text.write_text("".join(f"name {number}\r\n" for number in range(500)))

    report = run(tmp_path, "doctor", str(text), "--no-measure", **CHINESE).stdout

    assert "500 行，空的 0" in report
    assert "  - 500 行以回车加换行结尾；模型会学着把两个都写出来。" in report
    assert "训练 300 秒的话：" in report
    english = [
        line for line in report.splitlines() if len(re.findall(r"[a-z]{3,} [a-z]{3,}", line)) > 1
    ]
    assert english == []


def test_a_job_that_failed_says_why_in_chinese(service: Service) -> None:
    message = "The text is one character, repeated 9 times; there is nothing to learn from it. " \
        "Give a text with more than one."  # fmt: skip
    failed = {**JOB, "state": "failed", "error": {"message": message, "code": "one_symbol"}}
    service.put("GET /v1/jobs?limit=20", {"data": [failed], "has_more": False})

    assert "文本是同一个字符重复 9 次" in service.run("jobs", **CHINESE).stdout
