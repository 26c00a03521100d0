"""What operators do with a whole service: backups, checks, retention, reports."""
