"""What the embedded stack is made of."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from web.cli.stack import StackFailed, choose_port, reachable
from web.cli.stack_programs import Shares, service_programs, share_cores
from worker.settings import Settings


def settings(folder: Path, **values: object) -> Settings:
    return Settings.model_validate({"home": folder, "port": 8000, **values})


@pytest.mark.parametrize(
    ("cores", "values", "shares"),
    [
        (1, {}, Shares(1, 1)),
        (2, {}, Shares(2, 2)),
        (16, {}, Shares(16, 16)),
        (16, {"train_workers": 4, "generate_workers": 2}, Shares(4, 8)),
        (16, {"threads": 3}, Shares(3, 16)),
        (2, {"train_workers": 0, "generate_workers": 0}, Shares(2, 2)),
    ],
)
def test_cores_are_shared(
    tmp_path: Path, cores: int, values: dict[str, int], shares: Shares
) -> None:
    assert share_cores(cores, settings(tmp_path, **values)) == shares


def test_each_program_knows_the_home_the_broker_and_its_threads(tmp_path: Path) -> None:
    with_broker = settings(tmp_path).with_broker("127.0.0.1", 7000, "secret")

    programs = {each.name: each for each in service_programs(with_broker, Shares(4, 2))}

    assert set(programs) == {"web", "reconciler", "trainer", "generator"}
    for program in programs.values():
        assert program.environment["TEXTGEN_HOME"] == str(tmp_path)
        assert program.environment["TEXTGEN_BROKER_URL"] == "redis://:secret@127.0.0.1:7000/0"
        assert program.environment["OMP_WAIT_POLICY"] == "PASSIVE"
        assert "secret" not in " ".join(program.command)
    assert programs["trainer"].environment["TEXTGEN_THREADS"] == "4"
    assert programs["generator"].environment["TEXTGEN_THREADS"] == "2"


def test_no_training_worker_where_none_is_wanted(tmp_path: Path) -> None:
    wanted = settings(tmp_path, train_workers=0, generate_workers=2)
    names = [each.name for each in service_programs(wanted, Shares(1, 1))]
    assert sorted(names) == ["generator-1", "generator-2", "reconciler", "web"]


def test_a_taken_port_is_said_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackFailed, match=f"Port {port} .*PORT=8001"):
            choose_port(settings(tmp_path, port=port))


def test_port_0_is_a_free_one(tmp_path: Path) -> None:
    assert choose_port(settings(tmp_path, port=0)) > 0


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "[::1]"),
        ("fe80::1", "[fe80::1]"),
        ("host", "host"),
    ],
)
def test_where_a_bind_address_is_reached(bind: str, address: str) -> None:
    assert reachable(bind) == address
