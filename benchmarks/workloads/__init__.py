"""What our code is made to do: drawn rows and photos, stores that grow, refits, runs of the service."""
