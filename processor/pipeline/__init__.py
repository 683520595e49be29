"""The pipeline: from the object events of a micro-batch to durable rows and rejects."""
