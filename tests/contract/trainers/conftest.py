"""The trainer's fixtures."""

from tests.trainer_fixtures import one_thread

__all__ = ["one_thread"]
