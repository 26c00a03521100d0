"""Fixtures that all tests share."""

from tests.random_models import make_bundle

__all__ = ["make_bundle"]
