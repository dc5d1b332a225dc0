"""The audit gate: Great Expectations over what was loaded and over what was built, before it goes on."""

from kkbc.quality.gate import AuditResult, Finding, audit
from kkbc.quality.holding import Held, hold, holds, release

__all__ = ["AuditResult", "Finding", "Held", "audit", "hold", "holds", "release"]
