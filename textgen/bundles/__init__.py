"""Model files and checkpoints: one checked format, read without running code from it."""
