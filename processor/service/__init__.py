"""The service: the running process, what it checks first, and what it tells about itself."""
