"""Notifying: one message a night to the operators, by the channels that the setting `notify` names.

`facts` gathers what came of a night, `message` says it in Indonesian, `channels` deliver it, `sending` sees to it that
it is said once. Nothing personal is in a message: counts, branches, codes and names of expectations.
"""

from kkbc.watching.notifying.deadline import check_deadline
from kkbc.watching.notifying.sending import Notice, notify, notify_of_night

__all__ = ["Notice", "check_deadline", "notify", "notify_of_night"]
