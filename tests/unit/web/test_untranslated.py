"""Nothing is said to people as it stands in the code: what has no translation is found here."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import web
from docs.generators.errors import name_of, text_of
from docs.generators.sources import of_package
from web.names import called
from web.translation import REPORTS, translated

ROOT = Path(web.__file__).parent
WORD = re.compile("[A-Za-z_]{2,}")
PRINTERS = ("echo", "print", "print_table", "confirm", "prompt", "add_task", "add_column")
COMMANDS = ("make serve", " generate ", ' "import "', " train YOUR.txt --name mine")
NAMES_IN_PAGES = {"textgen", "openapi", "json", "CSV", "copy_index", "tg_", "tg__"}
IN_ENGLISH = "docs.html"  # what is in the OpenAPI document; its page says that it is English


def literals(node: ast.expr) -> Iterator[str]:
    """The texts of an expression that no call has translated."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from literals(part)
        case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
            yield from literals(left)
            yield from literals(right)


def test_what_commands_print_is_marked_for_translation() -> None:
    found = [
        (path.name, call.lineno, text)
        for path in sorted((ROOT / "cli").glob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and name_of(call.func) in PRINTERS
        for argument in call.args
        for text in literals(argument)
        if WORD.search(text) and text not in COMMANDS
    ]

    assert found == [], "say it with _(…)"


def test_what_templates_say_is_marked_for_translation() -> None:
    found = [
        (path.name, text.strip())
        for path in sorted((ROOT / "templates").rglob("*.html"))
        if path.name != IN_ENGLISH
        for text in said_by(path.read_text(encoding="utf-8"))
        if set(WORD.findall(text)) - NAMES_IN_PAGES
    ]

    assert found == [], "say it with _(…)"


def said_by(template: str) -> list[str]:
    """What stands in a template as it is, in attributes and between tags."""
    page = re.sub(r"{% trans %}.*?{% endtrans %}|{#.*?#}|{{.*?}}|{%.*?%}", "", template, flags=re.S)
    page = re.sub(r"<(script|style|code|pre)\b.*?</\1>", "", page, flags=re.S)
    attributes = re.findall(r'(?:aria-label|title|placeholder|alt)="([^"]*)"', page)
    text = re.sub(r'<[^<]*>|[\w-]+="[^"]*"', "\n", page)  # a macro may hold attributes alone
    return [*attributes, *text.split("\n")]


def findings() -> Iterator[str]:
    """What the checks of a service say of what they find, and why it is not mended."""
    for path in of_package("worker"):
        if path.parent.name != "checks":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and name_of(node.func) == "Finding":
                yield from map(text_of, node.args[2:])
            if isinstance(node, ast.Call) and name_of(node.func) in ("say", "_say"):
                yield from map(text_of, node.args)
            if isinstance(node, ast.Assign) and name_of(node.targets[0]) == "detail":
                yield text_of(node.value)
        for node in tree.body:
            if isinstance(node, ast.Assign) and not name_of(node.targets[0]).startswith("_"):
                values = node.value.values if isinstance(node.value, ast.Dict) else [node.value]
                yield from map(text_of, values)


def test_what_a_check_finds_can_be_said_in_chinese() -> None:
    sentences = [text for text in findings() if " " in text]

    assert len(sentences) > 20
    for sentence in sentences:
        numbers = itertools.count(1)
        message = re.sub("…", lambda _: f"'v{next(numbers)}'", sentence)  # noqa: B023
        assert re.search("[\u4e00-\u9fff]", translated(message, "zh", REPORTS)), sentence


@pytest.mark.parametrize(
    ("name", "chinese"),
    [
        ("valid_loss", "验证损失"),
        ("base_valid_bits_per_character", "起点验证每字符比特数"),
        ("full_valid_f1", "完整验证 F1"),
        ("splits.train.tokens", "划分 · 训练 · 词元"),
        ("stuck_job", "卡住的任务"),
        ("top_k", "前 k 个"),
        ("5", "5"),
        ("valid_odd", "valid_odd"),
        ("generation_defaults.max_tokens", "generation_defaults.max_tokens"),
        ("", ""),
        ("valid_" * 1000 + "loss", "valid_" * 1000 + "loss"),
    ],
)
def test_names_are_put_together_from_words_or_stay(name: str, chinese: str) -> None:
    assert called(name, "zh") == chinese
    assert called(name, "en") == name


@pytest.mark.parametrize(
    ("found", "chinese"),
    [
        (
            "jobs/a/1/model/model.safetensors is missing. Used by the file file-1, the model ft:a.",
            "缺少 jobs/a/1/model/model.safetensors。使用者：文件 file-1、模型 ft:a。",
        ),
        (
            "a checkpoint of ftjob-1 points to jobs/a/1/c, which is gone",
            "ftjob-1 的检查点指向 jobs/a/1/c，而它已不存在",
        ),
        ("encoding the text, 1,000 of 2,000 characters", "给文本编码，1,000 / 2,000 个字符"),
        ("learning the vocabulary, 12 s so far", "学习词表，已用 12 秒"),
    ],
)
def test_sentences_within_findings_and_progress(found: str, chinese: str) -> None:
    assert translated(found, "zh", REPORTS) == chinese
