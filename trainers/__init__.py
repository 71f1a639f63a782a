"""The offline trainer: a folder of pictures becomes a generator. Knows nothing of `artbot` or `db`."""
