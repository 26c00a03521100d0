"""Training jobs, from the order to the published model."""
