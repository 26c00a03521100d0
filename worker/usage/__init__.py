"""What was used, in units that compare across tokenizers, each job once."""
