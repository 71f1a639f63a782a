"""Looking after a workplace: backups, a check-up, the story of one work."""
