"""Texts on their way in: found, decoded, looked at, split and encoded once to ids on disk."""
