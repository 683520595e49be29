"""The soak: two services under kills and faults, and whether the tables are the bucket in the end.

``python -m tests.soak`` (or ``./run soak``) is the project's proof, so nothing in the service knows of
it. The services are the real command, started again as systemd would; each reaches S3 and SQS through a
port of a proxy in a process of its own, which sees every boundary from outside, injects faults, and
stops at a boundary until a kill is done. A writer changes the bucket directly. When it has stopped and
everything is quiet, the tables are compared with the bucket.

Read ``__main__`` (the command), ``stage`` (one bucket), ``calm`` (its end), ``verdict`` (what is lost,
duplicated or wrong), ``schedule`` (what is killed when), then one noun at a time.
"""
