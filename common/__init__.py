"""What every program here shares: configuration, the bucket's layout, AWS, the log."""
