"""Tables, engine and migrations. Knows nothing of `artbot` or `trainers`."""
