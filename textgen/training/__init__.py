"""From a corpus of ids to trained weights."""
