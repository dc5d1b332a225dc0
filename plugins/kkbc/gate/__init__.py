"""The audit gate: Great Expectations over what was loaded and over what was built, before it goes on."""

from kkbc.gate.audit import AuditResult, Finding, audit

__all__ = ["AuditResult", "Finding", "audit"]
