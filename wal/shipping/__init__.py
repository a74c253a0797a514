"""What the syncer is made of: lanes, window, cursors, announcements, the process."""
