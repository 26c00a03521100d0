"""Names of the API that people read, in pages and in the command line: what a translation needs.

Most are found where they are defined, so that a new one is found too; the others are listed here,
and a test looks whether the code still has them.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from docs.generators.sources import ROOT
from textgen.corpus.dataset import SplitSizes
from textgen.evaluation.options import PARTS
from textgen.evaluation.report import Report
from textgen.options import ObjectiveName, RowKind
from web.schemas.models import ModelObject
from worker.all_tables import METADATA
from worker.jobs.states import QUEUED_PHASE, RUNNING_PHASE, Kind, State
from worker.operations.checks.finding import What
from worker.scoring.summary import ScoreSummary

# Functions whose dictionaries people read, by their keys.
KEYS = {
    "textgen/corpus/dataset.py": ("as_dict", "coverage"),
    "textgen/corpus/encode.py": ("_facts",),
    "textgen/evaluation/classes.py": ("named", "as_dict", "_means"),
    "textgen/evaluation/validation.py": ("named",),
    "textgen/training/trainer.py": ("metrics",),
    "web/cli/tenants.py": ("as_dict",),
    "worker/batches/output.py": ("as_dict", "publish_output"),
    "worker/evaluation/run.py": ("_publish",),
    "worker/examination/run.py": ("_publish",),
    "worker/scoring/run.py": ("_publish",),
    "worker/training/result.py": ("publish_model",),
}
LISTED = (
    "full", "train", "valid", "test", "replay",  # which text a loss is of
    "int8_loss_difference",
    "finalizing", "expired",  # phases
    "active", "suspended",  # states of tenants
    "preset",
)  # fmt: skip
# Nobody is shown them, or they hold options, which are called as they are given.
LEFT_OUT = ("format", "options", "object", "architecture", "generation_defaults")


def all_names() -> Iterator[str]:
    """Each at least once."""
    yield from PARTS
    for choice in (Kind, State, RowKind, ObjectiveName, What):
        yield from get_args(choice)
    yield from (*QUEUED_PHASE.values(), *RUNNING_PHASE.values())
    for model in (Report, ScoreSummary, ModelObject):
        yield from _fields(model)
    yield from (field.name for field in dataclasses.fields(SplitSizes))
    yield from (table.name for table in METADATA.sorted_tables if "tenant" in table.c)
    for path, functions in KEYS.items():
        yield from _keys(path, functions)
    yield from LISTED


def _fields(model: type[BaseModel]) -> Iterator[str]:
    """Those of a model and of the models in it, and the words that they choose from; no lists."""
    for name, field in model.model_fields.items():
        if name not in LEFT_OUT and get_origin(field.annotation) is not tuple:
            yield name
            yield from _within(field.annotation)


def _within(annotation: Any) -> Iterator[str]:
    if isinstance(annotation, str):  # one of a Literal
        yield annotation
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _fields(annotation)
    elif get_origin(annotation) not in (tuple, list):
        for inner in get_args(annotation):
            yield from _within(inner)


def _keys(path: str, functions: tuple[str, ...]) -> Iterator[str]:
    for function in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef) and function.name in functions:
            for node in ast.walk(function):
                if isinstance(node, ast.Dict):
                    for key in node.keys:
                        yield from _texts(key)


def _texts(key: ast.expr | None) -> Iterator[str]:
    """A key, or of one that is put together its parts."""
    parts = key.values if isinstance(key, ast.JoinedStr) else [key]
    for part in parts:
        if isinstance(part, ast.Constant) and (name := str(part.value).strip("_")):
            yield name
