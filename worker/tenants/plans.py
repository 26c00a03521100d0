"""Plans: limits by name, from the operator's file (TOML)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from textgen.errors import InvalidOption
from worker.tenants.options import Limits


@dataclass(frozen=True)
class Plans:
    """The limits of each plan. Without a file there is none, and nobody is limited."""

    limits_of: Mapping[str, Limits] = field(default_factory=dict)

    def checked(self, name: str | None) -> str | None:
        """A plan that there is, or None for none; raises InvalidOption."""
        if not name:
            return None
        if name not in self.limits_of:
            known = ", ".join(sorted(self.limits_of))
            raise InvalidOption(
                f"'plan' is {name!r}: "
                + (f"there are {known}." if known else "TEXTGEN_PLANS_FILE names no plans."),
                param="plan",
            )
        return name

    def limits(self, name: str | None) -> Limits:
        """Of a plan; one that is no longer in the file limits nothing."""
        return self.limits_of.get(name, Limits()) if name else Limits()
