"""The reduced matrix: statistics of the features, a PCA of them, and every row projected with it."""
