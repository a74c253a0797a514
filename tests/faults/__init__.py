"""Faults by seed: real trainers, syncers and nodes, what is done to them, and the oracles of a full scan."""
