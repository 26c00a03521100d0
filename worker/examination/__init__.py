"""Examination jobs: a look at a text before anybody trains on it."""
