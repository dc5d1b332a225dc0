"""What follows a run, however it ended: its figures and the message to the operators."""

from kkbc.watching import notifying, telemetry
from kkbc.watching.notifying import Notice


def notify_operators(run_id: str) -> list[Notice]:
    """Sends the figures of a run and the message of its night; returns what became of it on each channel.

    A channel that fails does not make the run fail.
    """
    telemetry.emit_night(run_id)
    return notifying.notify_of_night(run_id)
