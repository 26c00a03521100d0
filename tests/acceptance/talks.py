"""Conversations that a tiny model learns by heart within seconds."""

from __future__ import annotations

import json

SAYS = {"hello": "good day", "bye": "farewell", "你好": "您好"}
STEPS = 250


def messages(said: str, before: str = "") -> list[dict[str, str]]:
    """A conversation so far, perhaps with a turn before."""
    earlier = []
    if before:
        earlier = [
            {"role": "user", "content": before},
            {"role": "assistant", "content": SAYS[before]},
        ]
    return [*earlier, {"role": "user", "content": said}]


def talks() -> str:
    """Rows to train on, each with its answer; half have a turn before."""
    rows = []
    for number in range(400):
        said = list(SAYS)[number % 3]
        before = list(SAYS)[(number // 3) % 3] if number % 2 else ""
        answer = {"role": "assistant", "content": SAYS[said]}
        name = {"role": "system", "content": f"you are bot {number}"}
        rows.append({"messages": [name, *messages(said, before), answer]})
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
