"""Pages of models: found, paged, one with all that is known of it, brought in, named, deleted."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path

from flask.testing import FlaskClient

from tests.random_models import BundleMaker
from tests.unit.web.conftest import OWN, publish
from textgen.bundles.bundle import save_bundle
from textgen.evaluation.options import EvaluationOptions
from textgen.evaluation.report import Bias, Direction, Memorisation, Overlaps, Report
from web.services import Services
from worker.storage.files import NewFile, add_file
from worker.storage.models import NewModel, add_model


def add(services: Services, *ids: str, base: str | None = None) -> None:
    for model_id in ids:
        publish(services, NewModel(model_id, "acme", "gone", "m.safetensors", base=base))


def shown(page: str) -> list[str]:
    """The models of a list, in its order."""
    return re.findall(r'data-model="([^"]+)"', page)


def test_a_list_goes_on_from_a_key(browser: FlaskClient, services: Services) -> None:
    assert "No model yet" in browser.get("/models").text
    ids = [f"ft:lstm-tiny:acme::{number:03}" for number in range(30)]
    add(services, *ids)

    first = browser.get("/models").text
    link = re.search(r'href="([^"]+)" rel="next"', first)
    assert link is not None
    second = browser.get(link[1].replace("&amp;", "&")).text

    assert shown(first) + shown(second) == ids[::-1]
    assert 'rel="next"' not in second
    assert shown(browser.get("/models?after=nonsense").text) == shown(first)


def test_models_are_found(browser: FlaskClient, services: Services) -> None:
    add(services, "ft:a", "ft:a:ckpt-step-5")
    services.models.set_alias("acme", "novels", "ft:a")

    assert shown(browser.get("/models").text) == ["ft:a"]
    assert shown(browser.get("/models?q=NOVEL&origin=all").text) == ["ft:a"]
    assert shown(browser.get("/models?origin=checkpoint&q=").text) == ["ft:a:ckpt-step-5"]
    assert "Nothing found" in browser.get("/models?objective=infill").text


def test_a_model_is_brought_in(
    browser: FlaskClient, make_bundle: BundleMaker, tmp_path: Path
) -> None:
    bundle = make_bundle()
    save_bundle(tmp_path / "m.safetensors", bundle.header, bundle.model.state_dict())

    def send(data: bytes, alias: str) -> str:
        form = {"file": (BytesIO(data), "m.safetensors"), "alias": alias, "suffix": ""}
        answer = browser.post("/models", data=form, headers=OWN)
        return answer.headers["Location"] if answer.status_code == 303 else answer.text

    page = browser.get(send((tmp_path / "m.safetensors").read_bytes(), "away")).text
    assert "away" in page and "imported" in browser.get("/models?origin=imported").text
    assert 'id="file-problem"' in send(b"no model", "")
    assert 'id="alias-problem"' in send((tmp_path / "m.safetensors").read_bytes(), "a b")


def report() -> Report:
    """What an evaluation could have found."""
    copied = Overlaps(
        count=9, mean=9, median=8, percentile_90=31, percentile_99=40, longest=77, text="<b>to be"
    )
    direction = Direction(
        term="he", other="she", rows=12, gap=0.25, low=0.125, high=0.5, gap_per_character=0.01,
        likelier=0.6,
    )  # fmt: skip
    bias = Bias(
        terms=("he", "she"), rows=12, ambiguous_rows=0, left_out_rows=0, directions=(direction,),
        pairs=(), worst=(),
    )  # fmt: skip
    facts = {
        "model": {
            "parameters": 9, "layers": 1, "hidden_size": 8, "tokenizer": "char", "vocab_size": 9,
            "objectives": ["causal"], "rows": "text",
        },
        "text": {
            "files": ["a"], "origin": "held out", "documents": 0, "tokens": 9, "characters": 9,
            "bytes": 9, "unknown": 0,
        },
    }  # fmt: skip
    return Report(
        **facts,
        options=EvaluationOptions(),
        memorisation=Memorisation(characters=900, left_out_characters=0, samples=copied, text=None),
        bias=(bias,),
    )


def evaluated(services: Services, model: str) -> str:
    """An evaluation of a model that has succeeded; its id."""
    job = services.jobs.submit("acme", "evaluation", {"model": model}, uses_models=[model])
    claimed = services.jobs.claim("training", "w")
    assert claimed is not None and claimed.id == job.id
    files = {"report": json.dumps(report().as_dict()), "page": report().as_html()}
    for name, content in files.items():
        place = f"files/file-{name}"
        with services.store.create(place) as staging:
            with staging.open("content") as file:
                file.write(content.encode())
            info = staging.commit().files["content"]
        new = NewFile(f"file-{name}", name, "user_data", info.bytes, info.sha256, place, "content")
        with services.database.write() as connection:
            add_file(connection, "acme", new, services.database.now(connection))
    result = {f"{name}_file_id": f"file-{name}" for name in files}
    services.jobs.succeed(claimed, result)
    return job.id


def test_all_that_is_known_of_a_model(browser: FlaskClient, services: Services, model: str) -> None:
    add(services, "ft:child", base=model)
    services.models.set_alias("acme", "novels", model)
    evaluation = evaluated(services, model)

    page = browser.get(f"/models/{model}").text

    assert "<h1>novels</h1>" in page and "lstm-tiny" in page
    assert "1.500" in page and "2.160" in page and "11 B" in page
    assert "77" in page and "&lt;b&gt;to be" in page
    assert "he → she" in page and "0.12 – 0.50" in page
    assert evaluation in page
    assert f"/v1/models/{model}/content" in page
    assert f"/playground?model={model}" in page
    child = browser.get("/models/ft:child").text
    assert f'href="/models/{model}"' in child and "gone" in child
    assert browser.get("/models/lstm-tiny").status_code == 404
    assert browser.get("/models/ft:none").status_code == 404


def test_what_an_evaluation_found_as_a_page_in_the_reader_s_language(
    browser: FlaskClient, services: Services, model: str
) -> None:
    none = browser.get(f"/models/{model}/report", headers={"Accept-Language": "zh"})
    assert none.status_code == 404 and "没有带页面的评估" in none.text

    evaluated(services, model)
    assert f'href="/models/{model}/report"' in browser.get(f"/models/{model}").text
    page = browser.get(f"/models/{model}/report")
    assert page.headers["Content-Disposition"] == "attachment; filename=report.html"
    assert "<h2>Memorisation</h2>" in page.text and "&lt;b&gt;to be" in page.text
    chinese = browser.get(f"/models/{model}/report", headers={"Accept-Language": "zh"}).text
    assert "<h2>记忆</h2>" in chinese and "&lt;b&gt;to be" in chinese


def test_what_came_of_a_model(browser: FlaskClient, services: Services, model: str) -> None:
    job = services.jobs.submit("acme", "training", {"model": model}, uses_models=[model])
    new = NewModel("ft:child", "acme", "gone", "m", base=model)
    with services.database.write() as connection:
        add_model(connection, "acme", new, 1.0, job_id=job.id)

    assert 'href="/models/ft:child"' in browser.get(f"/models/{model}").text
    asked = browser.get(f"/models/{model}/delete").text
    assert job.id in asked and "ft:child" in asked
    refused = browser.post(f"/models/{model}/delete", headers=OWN)
    assert refused.status_code == 409 and "is used by the job" in refused.text

    services.jobs.request_cancel("acme", job.id)
    gone = browser.post(f"/models/{model}/delete", headers=OWN)
    assert (gone.status_code, gone.headers["Location"]) == (303, "/models")
    assert browser.get(f"/models/{model}").status_code == 404


def test_names(browser: FlaskClient, services: Services, model: str) -> None:
    wrong = browser.post(f"/models/{model}/aliases", data={"name": "a b"}, headers=OWN)
    assert wrong.status_code == 400 and 'id="name-problem"' in wrong.text

    browser.post(f"/models/{model}/aliases", data={"name": "verse"}, headers=OWN)
    assert services.models.get_alias("acme", "verse").model == model
    browser.post(f"/models/{model}/aliases/remove", data={"name": "verse"}, headers=OWN)
    assert services.models.aliases("acme") == []


def test_other_sites_do_nothing(browser: FlaskClient, model: str) -> None:
    for path in ("", "/delete", "/evaluate", "/aliases", "/aliases/remove"):
        where = f"/models/{model}{path}" if path else "/models"
        answer = browser.post(where, headers={"Origin": "https://evil.example"})
        assert answer.status_code == 403


def test_whatever_an_imported_model_says(browser: FlaskClient, services: Services) -> None:
    header = {
        "corpus": {"<i>": {"a": [1], "b": {"c": "x" * 500}}, "n": None},
        "metrics": {"valid_loss": "high", "x": 1e-9},
        "model": {}, "labels": [], "objectives": ["causal"],
    }  # fmt: skip
    publish(services, NewModel("ft:odd", "acme", "gone", "m", header=header))

    assert browser.get("/models").status_code == 200
    page = browser.get("/models/ft:odd")
    assert page.status_code == 200 and "<i>" not in page.text
