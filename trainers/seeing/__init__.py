"""Seeing a generator learn and what it learned: the run's page, its time lapse, a latent walk."""
