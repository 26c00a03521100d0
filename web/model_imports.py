"""Receives a model file from elsewhere: checked to its last byte before anybody can use it."""

from __future__ import annotations

import json

from textgen.bundles.checking import check_bundle
from textgen.errors import InvalidBundle, InvalidInput
from web.alias_names import check_name
from web.schemas.models import ModelForm
from web.services import Services
from web.submission import storage_room
from web.uploads import expect, read_form
from worker.storage.ids import new_id
from worker.storage.models import Model, NewModel
from worker.training.result import MODEL_FILE, describe

MOST_DESCRIPTION = 1 << 18  # bytes of JSON that the table of models takes of one
ID_LENGTH = 10  # as behind the ids of trained models


def receive_model(services: Services, tenant: str) -> Model:
    """Store the model of the current request's form; nothing stays behind when it fails.

    Raises InvalidBundle, InvalidInput, Conflict (the alias is a model's id).
    """
    expect(services, tenant, services.settings.max_upload_bytes)
    identity = new_id("")
    with services.store.create(f"models/{identity}") as staging:
        with staging.open(MODEL_FILE) as target:
            received = read_form(target, services.settings.max_upload_bytes, "file")
        if received.filename is None:
            raise InvalidInput("The form has no part 'file' with a file name.", param="file")
        form = ModelForm.parse({name: text for name, text in received.fields.items() if text})
        if form.alias is not None:
            check_name(form.alias, "alias")
        try:
            header = check_bundle(staging.path(MODEL_FILE))
        except InvalidBundle as error:
            message = error.message.replace(MODEL_FILE, received.filename)
            raise InvalidBundle(message, code=error.code, param="file") from None
        described = describe(header)
        if len(json.dumps(described)) > MOST_DESCRIPTION:
            raise InvalidBundle(
                f"{received.filename} says more about itself than {MOST_DESCRIPTION:,} bytes.",
                param="file",
            )
        artifact = staging.commit()
    suffix = "" if form.suffix is None else form.suffix
    new = NewModel(
        id=f"ft:imported:{tenant}:{suffix}:{identity[-ID_LENGTH:]}",
        owned_by=tenant,
        artifact=artifact.name,
        file=MODEL_FILE,
        header=described,
    )
    with services.store.deleted_if_refused(artifact.name):
        return services.models.add(tenant, new, form.alias, storage_room(services, tenant))
