"""Pure rules: standard library only, no clock, no files, no database."""

from artbot.domain.candidate import BATCH, CANDIDATE
from artbot.domain.channel import CHANNEL
from artbot.domain.delivery import DELIVERY
from artbot.domain.notice import NOTICE

MACHINES = (BATCH, CANDIDATE, DELIVERY, CHANNEL, NOTICE)
"""Every state machine there is: drawn into docs/states.md, and held by the database."""
