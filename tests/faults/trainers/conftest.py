"""The trainer's fixtures."""

from tests.trainer_fixtures import one_thread, studio, trained

__all__ = ["one_thread", "studio", "trained"]
