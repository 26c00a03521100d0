"""Tables beside the jobs. The tenant is in each but the last two, which belong to the machines.

files, models, aliases      what users upload and get
uploads, upload_parts       files that come in parts
api_keys, signin_links      who may do what
workers                     who is there to work
chores                      what is done now and then, and by whom
"""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Integer, LargeBinary, Table, text

from worker.storage.schema import BIG, DOCUMENT, METADATA, NAME, Line

files = Table(
    "files",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("tenant", NAME, nullable=False),
    Column("filename", Line(), nullable=False),
    Column("purpose", NAME, nullable=False),
    Column("status", NAME, nullable=False),  # uploaded, processed or error
    Column("bytes", BIG, nullable=False),
    Column("sha256", NAME, nullable=False),
    Column("artifact", NAME, nullable=False),
    Column("file", NAME, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Index("files_list", "tenant", "id"),
    Index("files_list_purpose", "tenant", "purpose", "id"),
    Index("files_content", "tenant", "sha256", "id"),
    Index("files_artifact", "artifact"),
    Index(
        "files_expires",
        "expires_at",
        postgresql_where=text("expires_at IS NOT NULL"),
        sqlite_where=text("expires_at IS NOT NULL"),
    ),
)

uploads = Table(
    "uploads",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("tenant", NAME, nullable=False),
    Column("filename", Line(), nullable=False),
    Column("mime_type", Line(), nullable=False),
    Column("purpose", NAME, nullable=False),
    Column("bytes", BIG, nullable=False),
    Column("status", NAME, nullable=False),  # pending, completed, cancelled or expired
    Column("expires_in", Double),  # of the file
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("file_id", NAME),
    Index(
        "uploads_expires",
        "expires_at",
        postgresql_where=text("status = 'pending'"),
        sqlite_where=text("status = 'pending'"),
    ),
)

upload_parts = Table(
    "upload_parts",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("upload_id", NAME, nullable=False),
    Column("tenant", NAME, nullable=False),
    Column("bytes", BIG, nullable=False),
    Column("sha256", NAME, nullable=False),
    Column("artifact", NAME, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("upload_parts_upload", "upload_id", "id"),
    Index("upload_parts_artifact", "artifact"),
)

models = Table(
    "models",
    METADATA,
    Column("tenant", NAME, primary_key=True),
    Column("id", NAME, primary_key=True),
    Column("base", NAME),
    Column("owned_by", NAME, nullable=False),
    Column("job_id", NAME),
    Column("artifact", NAME, nullable=False),
    Column("file", NAME, nullable=False),
    Column("header", DOCUMENT, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("models_created", "tenant", "created_at", "id"),
    Index("models_artifact", "artifact"),
    Index("models_job", "tenant", "job_id"),  # a training's id stands for its model
)

aliases = Table(
    "aliases",
    METADATA,
    Column("tenant", NAME, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("model_id", NAME, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index("aliases_model", "tenant", "model_id"),
)

api_keys = Table(
    "api_keys",
    METADATA,
    Column("id", NAME, primary_key=True),
    Column("tenant", NAME, nullable=False),
    Column("name", Line(), nullable=False),
    Column("secret_sha256", LargeBinary(32), nullable=False),
    Column("scopes", DOCUMENT, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("owner", NAME),  # of a browser's session: the key that it stands for
    Index("api_keys_list", "tenant", "id"),
    Index("api_keys_created", "tenant", "created_at", "id"),
    *(
        Index(
            name,
            column,
            postgresql_where=text("owner IS NOT NULL"),
            sqlite_where=text("owner IS NOT NULL"),
        )
        for name, column in (("api_keys_sessions", "expires_at"), ("api_keys_owner", "owner"))
    ),
)

signin_links = Table(
    "signin_links",
    METADATA,
    Column("secret_sha256", LargeBinary(32), primary_key=True),
    Column("tenant", NAME, nullable=False),
    Column("key_id", NAME, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("signin_links_expires", "expires_at"),
)

workers = Table(
    "workers",
    METADATA,
    Column("name", NAME, primary_key=True),
    Column("incarnation", NAME, nullable=False),
    Column("role", NAME, nullable=False),
    Column("queue", NAME, primary_key=True),
    Column("slots", Integer, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
)

chores = Table(
    "chores",
    METADATA,
    Column("name", NAME, primary_key=True),
    Column("due_at", Double, nullable=False),
    Column("holder", NAME, nullable=False),  # empty: nobody
    Column("held_until", Double, nullable=False),
)
