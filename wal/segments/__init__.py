"""Streams on disk: segments, written and read, with their seals and locks. Standard library only."""
