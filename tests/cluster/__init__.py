"""A real cluster on this machine: a master, workers in processes of their own, a service on it."""
