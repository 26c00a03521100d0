from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from textgen.errors import InvalidOption
from worker.errors import Conflict, InvalidSetting, NotFound, Unauthenticated
from worker.settings import Settings
from worker.storage.database import Database
from worker.storage.keys import Keys
from worker.storage.tables import api_keys


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


def test_a_key_is_shown_once_and_known_again(keys: Keys, database: Database) -> None:
    key, plaintext = keys.create("acme", "website", ["read", "generate", "read"])

    assert plaintext.startswith(f"tg_{key.id}_") and len(plaintext) > 50
    assert keys.authenticate(plaintext) == key == Keys(database).authenticate(plaintext)
    assert (key.tenant, key.name, list(key.scopes)) == ("acme", "website", ["read", "generate"])
    secret = plaintext.split("_", 2)[2]
    with database.read() as connection:
        stored = connection.execute(sa.select(api_keys)).one()
    assert secret.encode() not in bytes(stored.secret_sha256)
    assert secret not in str(stored)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: key[:-1] + ("a" if key[-1] != "a" else "b"),
        lambda key: key + "x",
        lambda key: "tg_0000000000000000_" + key.split("_", 2)[2],
        lambda key: key.removeprefix("tg_"),
        lambda key: key.upper(),
        lambda _: "",
        lambda _: "tg__",
        lambda key: key + "\n",
        lambda _: "tg_a'; DROP TABLE api_keys; --_" + "x" * 20,
    ],
)
def test_anything_else_is_refused(keys: Keys, spoil: object) -> None:
    _, plaintext = keys.create("acme", "x", ["read"])
    keys.authenticate(plaintext)

    with pytest.raises(Unauthenticated):
        keys.authenticate(spoil(plaintext))  # type: ignore[operator]


def test_a_revoked_key_is_refused_at_once(keys: Keys) -> None:
    key, plaintext = keys.create("acme", "x", ["read"])
    keys.authenticate(plaintext)

    revoked = keys.revoke("acme", key.id)
    again = keys.revoke("acme", key.id)

    assert revoked.revoked_at is not None and again.revoked_at == revoked.revoked_at
    with pytest.raises(Unauthenticated) as caught:
        keys.authenticate(plaintext)
    assert caught.value.code == "key_revoked"


def test_a_key_whose_time_is_over(keys: Keys) -> None:
    _, plaintext = keys.create("acme", "x", ["read"], expires_in=-1)

    with pytest.raises(Unauthenticated) as caught:
        keys.authenticate(plaintext)
    assert caught.value.code == "key_expired"


def test_tenants_see_their_own(keys: Keys) -> None:
    ours, _ = keys.create("acme", "1", ["read"])
    newer, _ = keys.create("acme", "2", ["admin"])
    keys.create("other", "3", ["read"])

    assert keys.list("acme") == [ours, newer]
    assert keys.get("acme", ours.id) == ours
    for call in (keys.get, keys.revoke):
        with pytest.raises(NotFound):
            call("other", ours.id)


@pytest.mark.parametrize("scopes", [[], ["read", "everything"]])
def test_unknown_scopes(keys: Keys, scopes: list[str]) -> None:
    with pytest.raises(InvalidOption) as caught:
        keys.create("acme", "x", scopes)
    assert caught.value.param == "scopes"


class TestAdmin:
    def test_the_first_start_makes_one(self, keys: Keys, settings: Settings) -> None:
        first = keys.ensure_admin(settings)
        second = keys.ensure_admin(settings)

        path = settings.home / "credentials"
        plaintext = path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert plaintext.count("\n") == 1
        assert keys.authenticate(plaintext.strip()) == first == second
        assert "admin" in first.scopes and first.tenant == "default"
        assert list(settings.home.glob("tmp*")) == []

    def test_a_new_database_takes_the_key_that_is_there(
        self, keys: Keys, settings: Settings
    ) -> None:
        (settings.home / "credentials").write_text("tg_mine_" + "s" * 20 + "\n")

        assert keys.ensure_admin(settings).id == "mine"

    def test_one_that_was_given(self, keys: Keys, settings: Settings, tmp_path: Path) -> None:
        given = "tg_boss_" + "s" * 20
        (tmp_path / "secret").write_text(given + "\n")

        by_value = settings.model_copy(update={"admin_key": SecretStr(given)})
        by_file = settings.model_copy(update={"admin_key_file": tmp_path / "secret"})

        assert keys.ensure_admin(by_value).id == keys.ensure_admin(by_file).id == "boss"
        assert keys.authenticate(given).id == "boss"
        assert not (settings.home / "credentials").exists()

    @pytest.mark.parametrize("given", ["hunter2", "tg_boss_short", "tg_BOSS_" + "s" * 20])
    def test_one_that_is_no_key(self, keys: Keys, settings: Settings, given: str) -> None:
        with pytest.raises(InvalidSetting) as caught:
            keys.ensure_admin(settings.model_copy(update={"admin_key": SecretStr(given)}))

        assert caught.value.param == "TEXTGEN_ADMIN_KEY"
        assert given not in caught.value.message

    def test_a_file_that_is_not_there(self, keys: Keys, settings: Settings, tmp_path: Path) -> None:
        missing = settings.model_copy(update={"admin_key_file": tmp_path / "none"})

        with pytest.raises(InvalidSetting):
            keys.ensure_admin(missing)

    def test_a_revoked_one_stays_revoked(self, keys: Keys, settings: Settings) -> None:
        key = keys.ensure_admin(settings)
        keys.revoke("default", key.id)

        assert keys.ensure_admin(settings).revoked_at is not None

    def test_several_processes_start_with_the_same_key(
        self, settings: Settings, database_url: str
    ) -> None:
        program = (
            "import sys; from pathlib import Path; from worker.storage.database import Database;"
            "from worker.storage.keys import Keys; from worker.settings import Settings;"
            "print(Keys(Database(sys.argv[1])).ensure_admin(Settings(home=Path(sys.argv[2]))).id)"
        )
        command = [sys.executable, "-c", program, database_url, str(settings.home)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]

        assert len({process.communicate()[0] for process in processes}) == 1
        assert all(process.returncode == 0 for process in processes)


class TestLinks:
    def test_sign_in_once(self, keys: Keys, settings: Settings) -> None:
        admin = keys.ensure_admin(settings)

        token = keys.create_link(admin)

        assert keys.redeem_link(token) == admin
        for bad in (token, "", "x" * 43):
            with pytest.raises(Unauthenticated):
                keys.redeem_link(bad)

    def test_not_for_ever(self, keys: Keys, settings: Settings) -> None:
        token = keys.create_link(keys.ensure_admin(settings), expires_in=-1)

        with pytest.raises(Unauthenticated) as caught:
            keys.redeem_link(token)
        assert caught.value.code == "invalid_signin_link"

    def test_not_with_a_revoked_key(self, keys: Keys, settings: Settings) -> None:
        admin = keys.ensure_admin(settings)
        token = keys.create_link(admin)
        keys.revoke("default", admin.id)

        with pytest.raises(Unauthenticated):
            keys.redeem_link(token)


def test_a_session_does_what_its_key_may_and_ends_with_it(keys: Keys) -> None:
    owner, _ = keys.create("acme", "a person's", ["read", "train"], expires_in=60)
    session, plaintext = keys.sign_in(owner, 3600)
    assert (session.owner, list(session.scopes)) == (owner.id, ["read", "train"])
    assert session.expires_at == owner.expires_at

    keys.change("acme", owner.id, expires_in=7200)
    assert keys.authenticate(plaintext).expires_at == owner.expires_at  # never longer
    keys.change("acme", owner.id, scopes=["read"], expires_in=30)
    found = keys.authenticate(plaintext)
    assert found.expires_at is not None and owner.expires_at is not None
    assert (list(found.scopes), found.expires_at < owner.expires_at - 20) == (["read"], True)
    for change in (keys.rotate, keys.change):
        with pytest.raises(Conflict, match=owner.id):
            change("acme", session.id)
    with pytest.raises(Unauthenticated, match="browser's session"):
        keys.sign_in(session, 3600)

    keys.rotate("acme", owner.id, grace_seconds=0)
    with pytest.raises(Unauthenticated):
        keys.authenticate(plaintext)
    with pytest.raises(Unauthenticated):
        keys.sign_in(owner, 3600)


def test_a_revoked_key_takes_its_sessions_along(keys: Keys) -> None:
    owner, _ = keys.create("acme", "a person's", ["read"])
    texts = [keys.sign_in(owner, 3600)[1] for _ in range(2)]
    other = keys.sign_in(keys.create("acme", "another's", ["read"])[0], 3600)[1]
    for text in (*texts, other):
        keys.authenticate(text)

    keys.revoke("acme", owner.id)

    for text in texts:
        with pytest.raises(Unauthenticated, match="revoked"):
            keys.authenticate(text)
    assert keys.authenticate(other).owner is not None
