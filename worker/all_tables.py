"""Every table of the service, for whoever must know them all: migrations, deletion, backups.

Who locks rows of several tables in one transaction does so in the order of ``LOCK_ORDER``, and
several rows of one table by their key or skipping those that are locked. So on PostgreSQL nobody
waits in a circle. `jobs` come first, because a move of a job locks its row before anything else;
what hangs on a model (aliases, checkpoints) comes after it. Running sums of usage are the last: all
that ends in a project writes to the same rows, so they are held for the length of a commit alone,
and where more than one is changed it is by tenant and kind, the day before its quarter hours.
"""

from __future__ import annotations

import worker.billing.tables
import worker.usage.tables
import worker.webhooks.tables  # noqa: F401  (they fill the registry)
from worker.jobs.tables import fair_tenants, idempotency, jobs
from worker.storage.schema import METADATA
from worker.storage.tables import files, models
from worker.tenants.tables import tenants

__all__ = ["LOCK_ORDER", "METADATA"]

LOCK_ORDER = (jobs, idempotency, tenants, fair_tenants, files, models)
