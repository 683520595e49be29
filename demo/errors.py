"""What can go wrong with the demo: one line for the person at the terminal, naming cause and fix."""


class DemoError(RuntimeError):
    """The demo failed; no result file is left half written."""
