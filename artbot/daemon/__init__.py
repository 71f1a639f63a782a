"""The daemon: does what is due, when it is due, until it is told to stop."""
