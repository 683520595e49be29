"""The reduced matrix: statistics of the features, a PCA fitted to them, every row projected with it."""
