"""The service: the running process, what it checks first, and what it reports about its state."""
