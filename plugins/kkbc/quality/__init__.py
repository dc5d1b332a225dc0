"""The audit gate: Great Expectations over what was loaded and over what was built, before it goes on."""

from kkbc.quality.gate import AuditResult, Finding, audit

__all__ = ["AuditResult", "Finding", "audit"]
