"""Every table of the service, for whoever must know them all: migrations, deletion, backups."""

from __future__ import annotations

import worker.billing.tables
import worker.jobs.tables
import worker.storage.tables
import worker.tenants.tables
import worker.usage.tables
import worker.webhooks.tables  # noqa: F401  (they fill the registry)
from worker.storage.schema import METADATA

__all__ = ["METADATA"]
