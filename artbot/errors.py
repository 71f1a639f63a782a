"""What can go wrong for a person who runs artbot. Each says what failed, the value, and the remedy.

ArtbotError                exit code 1
├── ConfigError            exit code 3: artbot.toml, the environment, or a secret is wrong
│   ├── NoWorkplace        there is no artbot.toml here
│   └── NoSecret           what holds a secret is missing or empty
├── UsageError             exit code 2: what was asked for does not exist or is not possible
├── NotAllowed             the work is not in a state that allows this (the state machine says no)
│   └── Stale              it is no longer what the person saw: somebody else was quicker
├── PictureChanged         the file is no longer the picture that was shown
├── WorkerBusy             another process does the work of this workplace
│   └── WorkerElsewhere    on another host: it may be dead, and this one take over
├── ClockDoubted           the clock went back, or leapt ahead: nothing is begun until it is right
├── SchedulerDied          the daemon cannot go on as it should, and ends
├── NoCheckpoint           no generator can be used; each refusal with its reason
├── RenderFailed           the render child died, hung or gave up
│   └── DeviceFailed       the device has no memory left, or is gone: no picture's fault
├── StorageFailed          a file could not be written: disk full, no permission
└── DatabaseError          the database cannot be opened or written
DeliveryError              how one attempt failed; decides what happens next
├── Rejected               it will never succeed as it is: a person must act
├── Unavailable            certainly not received: try again later
└── OutcomeUnknown         it may have been received: repeat only what the receiver can recognise
"""

from __future__ import annotations


class ArtbotError(Exception):
    """A failure with a message meant for the person; never a bug of ours."""

    exit_code = 1


class ConfigError(ArtbotError):
    exit_code = 3


class NoWorkplace(ConfigError):
    pass


class NoSecret(ConfigError):
    """`remedy` depends on whose secret it is; who reads a file does not know that."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy


class UsageError(ArtbotError):
    exit_code = 2


class NotAllowed(ArtbotError):
    pass


class Stale(NotAllowed):
    pass


class PictureChanged(ArtbotError):
    pass


class WorkerBusy(ArtbotError):
    pass


class WorkerElsewhere(WorkerBusy):
    pass


class ClockDoubted(ArtbotError):
    pass


class SchedulerDied(ArtbotError):
    pass


class NoCheckpoint(ArtbotError):
    pass


class RenderFailed(ArtbotError):
    pass


class DeviceFailed(RenderFailed):
    pass


class StorageFailed(ArtbotError):
    pass


class DatabaseError(ArtbotError):
    pass


class DeliveryError(Exception):
    """One attempt's failure; `retry_after_s` is the receiver's wish, if it had one."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class Rejected(DeliveryError):
    pass


class Unavailable(DeliveryError):
    pass


class OutcomeUnknown(DeliveryError):
    pass
