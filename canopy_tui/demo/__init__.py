"""A real trainer that uses wal as any user would, and the demo that shows it at work."""
