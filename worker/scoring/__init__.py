"""Scoring jobs: how surprising each row of a file is to a model."""
