from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.integration.statements import explain, statements
from worker.backend import Backend
from worker.errors import Conflict, NotFound
from worker.storage import windows
from worker.storage.files import FileRow
from worker.storage.models import NewModel, add_model, put_alias
from worker.storage.tables import files
from worker.storage.uploads import Uploads

Upload = Callable[..., FileRow]


@pytest.fixture
def upload(backend: Backend) -> Upload:
    numbers = iter(range(1000))

    def store(
        tenant: str = "default", purpose: str = "fine-tune", expires_in: float | None = None
    ) -> FileRow:
        name = f"files/{next(numbers)}"
        with backend.store.create(name) as staging:
            with staging.open("content") as stream:
                stream.write(b"to be or not to be")
            staging.commit()
        return backend.files.create(
            tenant,
            filename="../été\0.txt",
            purpose=purpose,
            artifact=name,
            file="content",
            bytes=18,
            expires_in=expires_in,
        )

    return store


def add(backend: Backend, *ids: str, tenant: str = "default") -> None:
    for model_id in ids:
        with backend.database.write() as connection:
            now = backend.database.now(connection)
            new = NewModel(model_id, tenant, f"jobs/{model_id[3:]}/1/model", "m.safetensors")
            add_model(connection, tenant, new, now, job_id="ftjob-1")


class TestFiles:
    def test_what_is_known_of_one(self, backend: Backend, upload: Upload) -> None:
        row = upload()

        assert row == backend.files.get("default", row.id)
        assert row.id.startswith("file-") and row.filename == "../été\ufffd.txt"
        assert (row.bytes, row.status, row.expires_at) == (18, "processed", None)
        assert len(row.sha256) == 64
        with backend.files.open(row, 3) as stream:
            assert stream.read() == b"be or not to be"

    def test_a_size_that_is_not_the_artifacts(self, backend: Backend, upload: Upload) -> None:
        row = upload()

        with pytest.raises(ValueError, match="18"):
            backend.files.create(
                "default", filename="a", purpose="x", artifact=row.artifact, file="content", bytes=3
            )

    def test_a_search_looks_at_so_many(
        self, backend: Backend, upload: Upload, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(windows, "WINDOW", 3)
        rows = [upload() for _ in range(5)]
        upload("other")

        first = backend.files.search("default", rows[0].id.upper(), purpose="fine-tune")
        second = backend.files.search(
            "default", rows[0].id, purpose="fine-tune", after=first.following
        )
        assert (first.items, first.looked_at_all) == ([], False)
        assert (second.items, second.following) == ([rows[0]], None)
        every = backend.files.search("default", ".TXT", purpose="fine-tune", limit=2)
        assert every.items == rows[:2:-1] and every.following == rows[3].id

    def test_pages(self, backend: Backend, upload: Upload) -> None:
        rows = [upload(purpose=purpose) for purpose in ("batch", "fine-tune", "batch", "batch")]
        upload("other")
        batch = [row.id for row in rows if row.purpose == "batch"]

        newest = backend.files.list("default", limit=3)
        rest = backend.files.list("default", limit=3, after=newest.items[-1].id)
        oldest = backend.files.list("default", limit=2, order="asc", purpose="batch")
        last = backend.files.list(
            "default", limit=2, order="asc", purpose="batch", after=oldest.items[-1].id
        )

        assert [*newest.items, *rest.items] == rows[::-1]
        assert (newest.has_more, rest.has_more) == (True, False)
        assert [row.id for row in (*oldest.items, *last.items)] == batch

    def test_deleting_takes_the_bytes_too(self, backend: Backend, upload: Upload) -> None:
        row = upload()

        assert backend.files.delete("default", row.id) == row

        with pytest.raises(FileNotFoundError):
            backend.store.get(row.artifact)
        with pytest.raises(NotFound):
            backend.files.delete("default", row.id)

    def test_bytes_that_another_row_points_to_stay(self, backend: Backend, upload: Upload) -> None:
        row = upload()
        twin = backend.files.create(
            "default", filename="b", purpose="x", artifact=row.artifact, file="content"
        )

        backend.files.delete("default", row.id)

        with backend.files.open(twin) as stream:
            assert stream.read() == b"to be or not to be"

    def test_another_tenants_file_is_not_there(self, backend: Backend, upload: Upload) -> None:
        row = upload("other")

        for call in (backend.files.get, backend.files.delete):
            with pytest.raises(NotFound) as caught:
                call("default", row.id)
            assert caught.value.code == "file_not_found"

    def test_those_whose_time_is_over_go(self, backend: Backend, upload: Upload) -> None:
        upload(expires_in=-1)
        used = upload(expires_in=-1)
        kept = upload(expires_in=1000)
        backend.jobs.submit("default", "training", {}, uses_files=[used.id])

        assert backend.files.delete_expired() == 1
        assert [row.id for row in backend.files.list("default").items] == [kept.id, used.id]

    @pytest.mark.parametrize("at_once", [1, 2])
    def test_those_in_use_do_not_stop_later_ones(
        self, backend: Backend, upload: Upload, monkeypatch: pytest.MonkeyPatch, at_once: int
    ) -> None:
        monkeypatch.setattr("worker.storage.files.AT_ONCE", at_once)
        used = [upload("busy", expires_in=-100).id for _ in range(3)]
        backend.jobs.submit("busy", "training", {}, uses_files=used)
        for _ in range(5):
            upload("other", expires_in=-1)

        assert backend.files.delete_expired() == 5
        assert backend.files.list("other").items == []
        assert {row.id for row in backend.files.list("busy").items} == set(used)

    def test_those_that_expire_in_one_moment_go(
        self, backend: Backend, upload: Upload, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("worker.storage.files.AT_ONCE", 2)
        for _ in range(5):
            upload(expires_in=-1)
        with backend.database.write() as connection:
            connection.execute(sa.update(files).values(expires_at=1.0))

        assert backend.files.delete_expired() == 5

    def test_a_look_for_expired_ones_walks_along_indexes(self, backend: Backend) -> None:
        with statements(lambda each: "expires_at <" in each) as asked:
            backend.files.delete_expired()
            Uploads(backend.database, backend.store).expire_old()

        with backend.database.read() as connection:
            of_files, of_uploads = ("\n".join(explain(connection, each)) for each in asked)
        assert "files_expires" in of_files and "job_uses_used" in of_files
        assert "uploads_expires" in of_uploads
        assert not re.search("SCAN |Seq Scan", of_files + of_uploads)


class TestModels:
    def test_the_model_of_a_training_is_found_by_an_index(self, backend: Backend) -> None:
        """Every completion that names a training asks for it."""
        add(backend, "ft:a")
        with backend.database.write() as connection:
            for number in range(500):
                new = NewModel(f"ft:{number}", "default", "a", "b")
                add_model(connection, "default", new, 1.0, job_id=f"ftjob-of-{number}")
            connection.exec_driver_sql("ANALYZE")
        with statements(lambda each: "models.job_id = " in each) as asked:
            assert backend.models.resolve("default", "ftjob-1").id == "ft:a"

        (statement,) = asked
        with backend.database.read() as connection:
            plan = "\n".join(explain(connection, statement))
        assert "models_job" in plan, plan

    def test_newest_first(self, backend: Backend) -> None:
        add(backend, "ft:a", "ft:b", "ft:c")
        add(backend, "ft:a", tenant="other")

        models = backend.models.list("default")

        assert [model.id for model in models] == ["ft:c", "ft:b", "ft:a"]
        assert models[0] == backend.models.get("default", "ft:c")
        assert backend.models.resolve("other", "ft:a").tenant == "other"

    def test_a_search(self, backend: Backend) -> None:
        add(backend, "ft:a", "ft:b", "ft:b:ckpt-step-9", "ft:Verse%")
        add(backend, "ft:a", tenant="other")
        header = {"objectives": ["causal", "infill"], "licence": "CC0-1.0"}
        backend.models.add("default", NewModel("ft:away", "default", "a", "f", header=header), "x9")

        def found(text: str = "", **asked: Any) -> list[str]:
            return [model.id for model in backend.models.search("default", text, **asked).items]

        assert found() == ["ft:away", "ft:Verse%", "ft:b:ckpt-step-9", "ft:b", "ft:a"]
        assert found(origin="finished") == ["ft:away", "ft:Verse%", "ft:b", "ft:a"]
        assert found(origin="checkpoint") == ["ft:b:ckpt-step-9"]
        assert found(origin="imported") == found(objective="infill") == ["ft:away"]
        assert found("VERSE%") == ["ft:Verse%"] and found("cc0") == found("X9") == ["ft:away"]
        assert found("x9", origin="checkpoint") == []

    def test_a_search_goes_on_from_a_key(self, backend: Backend) -> None:
        add(backend, *(f"ft:{number}" for number in range(5)))

        first = backend.models.search("default", limit=3)
        second = backend.models.search("default", limit=3, after=first.following)

        ids = [model.id for page in (first, second) for model in page.items]
        assert ids == [f"ft:{number}" for number in reversed(range(5))]
        assert second.following is None and second.looked_at_all

    def test_a_search_looks_at_so_many(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(windows, "WINDOW", 3)
        add(backend, "ft:old", *(f"ft:{number}" for number in range(4)))

        first = backend.models.search("default", "old")
        assert (first.items, first.looked_at_all) == ([], False)
        second = backend.models.search("default", "old", after=first.following)
        assert [model.id for model in second.items] == ["ft:old"]

    def test_an_alias_moves_in_one_step(self, backend: Backend) -> None:
        add(backend, "ft:a", "ft:b")
        models = backend.models

        made = models.set_alias("default", "bot", "ft:a")
        assert models.resolve("default", "bot").id == "ft:a"
        moved = models.set_alias("default", "bot", "ft:b")

        assert models.resolve("default", "bot").id == "ft:b"
        assert moved.updated_at >= made.updated_at
        assert models.aliases("default") == [moved] == [models.get_alias("default", "bot")]
        assert models.set_alias("default", "second", "bot").model == "ft:b"
        assert models.aliases("other") == []
        models.delete_alias("default", "bot")
        assert [alias.name for alias in models.aliases("default")] == ["second"]

    def test_within_a_transaction(self, backend: Backend) -> None:
        add(backend, "ft:a")
        with pytest.raises(ZeroDivisionError), backend.database.write() as connection:
            put_alias(connection, "default", "bot", "ft:a", 1.0)
            _ = 1 / 0

        with pytest.raises(NotFound):
            backend.models.get_alias("default", "bot")

    def test_an_alias_cannot_hide_a_model(self, backend: Backend) -> None:
        add(backend, "ft:a", "ft:b")

        with pytest.raises(Conflict):
            backend.models.set_alias("default", "ft:a", "ft:b")

    def test_what_is_not_there(self, backend: Backend) -> None:
        add(backend, "ft:a", tenant="other")
        models = backend.models

        for call in (
            lambda: models.get("default", "ft:a"),
            lambda: models.resolve("default", "ft:a"),
            lambda: models.delete("default", "ft:a"),
            lambda: models.set_alias("default", "bot", "ft:a"),
        ):
            with pytest.raises(NotFound) as caught:
                call()
            assert caught.value.code == "model_not_found"
        for call in (
            lambda: models.get_alias("default", "bot"),
            lambda: models.delete_alias("default", "bot"),
        ):
            with pytest.raises(NotFound) as caught:
                call()
            assert caught.value.code == "alias_not_found"

    def test_deleting_takes_the_aliases_too(self, backend: Backend) -> None:
        add(backend, "ft:a", "ft:b")
        backend.models.set_alias("default", "bot", "ft:a")
        backend.models.set_alias("default", "other", "ft:b")

        backend.models.delete("default", "ft:a")

        assert [model.id for model in backend.models.list("default")] == ["ft:b"]
        assert [alias.name for alias in backend.models.aliases("default")] == ["other"]
