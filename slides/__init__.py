"""The presentation: docs/presentation.md and its French twin as HTML and PDF, checked for legibility."""
