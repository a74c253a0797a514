"""Parts of :mod:`wal.pyramid`: buckets, pages and columns as pure functions on numpy arrays."""
