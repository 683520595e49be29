"""What all programs of this repository share: configuration, the bucket's layout, AWS, the log."""
