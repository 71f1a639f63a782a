"""Networks that learned from other people's pictures: used to look with, never trained here."""
