"""The service: a batch every day, a person who chooses, publishing of what was chosen."""

__version__ = "0.1.0"
