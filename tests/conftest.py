"""Fixtures that all tests share."""

import os

from tests.random_models import make_bundle

os.environ["LC_ALL"] = "C.UTF-8"  # what is said is English, whoever runs the tests

__all__ = ["make_bundle"]
