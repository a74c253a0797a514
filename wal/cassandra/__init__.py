"""Everything that knows Cassandra; nothing outside this package imports its driver."""
