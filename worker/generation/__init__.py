"""Interactive completions and the engine process that serves them and the batches."""
