"""What a training script speaks to behind :mod:`wal`: starting, values, config. Standard library only."""
