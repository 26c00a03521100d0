"""Evaluation jobs: how well a model does, in every way there is."""
