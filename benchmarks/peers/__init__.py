"""What our code is compared with, each peer in a process of its own."""
