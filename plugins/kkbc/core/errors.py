"""Errors that people read: one line that names the thing, one that names the remedy."""


class UserError(Exception):
    """Something the user can fix: a wrong path, an occupied port, a broken contract.

    The command line prints it as one line without a traceback and exits with status 2.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}: {remedy}" if remedy else problem)


class NotLanded(UserError):
    """A folder of landing has no such file: of a visit that was killed before it was there, or past its time."""


class GateFailed(UserError):
    """The audit gate stopped publication."""


class SliceRejected(Exception):
    """A slice cannot be taken as a whole (Exchange rule 4). Nothing of it is loaded; its bytes are kept.

    `reason` is one of kkbc.exchange.slices.RejectionReason, `detail` a line for the operator without personal data.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class BranchRefused(UserError):
    """One branch cannot be entered until a person fixes something: its login, host key, connection or permissions.

    The night goes on without that branch. Trying again would not help.
    """


class BranchUnavailable(ConnectionError):
    """One branch is down, out of reach, cut in the middle, or asks to be left alone for too long. It may come back."""


class BranchTimeout(TimeoutError):
    """One branch does not answer in time. It may come back."""
