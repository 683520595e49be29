"""Photos: an object in S3, its bytes, and the pixels in them."""
