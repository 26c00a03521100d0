"""The life of a worker process: who it is, what it holds, what it does next."""
