"""What can go wrong with the demo: one line for the person at the terminal, naming cause and fix."""


class DemoError(RuntimeError):
    """The demo did not do what was asked; no result under its name is left half written."""
