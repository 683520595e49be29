"""What every benchmark needs: its command line, children, machine, embedded AWS, service, photos."""
