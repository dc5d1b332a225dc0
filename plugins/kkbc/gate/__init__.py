"""The audit gate: Great Expectations over what was loaded and over what was built, before it goes on."""

from kkbc.gate.audit import AuditResult, Finding, audit
from kkbc.slices.holding import Held, hold, holds, release

__all__ = ["AuditResult", "Finding", "Held", "audit", "hold", "holds", "release"]
