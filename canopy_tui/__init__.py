"""The terminal browser of training runs: screens, charts and the command line over what ``wal`` keeps."""
