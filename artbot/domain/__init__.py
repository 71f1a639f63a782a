"""Pure rules: standard library only, no clock, no files, no database."""

from artbot.domain.candidate import BATCH, CANDIDATE
from artbot.domain.channel import CHANNEL
from artbot.domain.delivery import DELIVERY

MACHINES = (BATCH, CANDIDATE, DELIVERY, CHANNEL)
"""Every state machine there is: drawn into docs/states.md, and held by the database."""
