"""Many processes as one program, on one machine."""
