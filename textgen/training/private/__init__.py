"""Training with differential privacy of each document."""
