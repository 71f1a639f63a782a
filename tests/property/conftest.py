"""Profiles of Hypothesis: `pytest tests/property --hypothesis-profile=thorough` looks longer."""

from hypothesis import settings

settings.register_profile("thorough", max_examples=500)
