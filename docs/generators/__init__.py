"""Pages that follow from the code, one module each."""
