"""Text from a model: many requests at once, each as if it were alone."""
