"""Measurements, each compared side by side in one run."""
