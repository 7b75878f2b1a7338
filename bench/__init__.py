"""Reproducible load runs: `make bench` for Bridge against the raw floor, `bench/peers.sh` for the others."""
