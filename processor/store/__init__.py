"""The store: Delta tables on S3, their data files, the local index of keys, and single objects."""
