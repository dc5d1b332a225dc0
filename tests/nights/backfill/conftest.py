"""The office and the rules of the quarantine's tests: what a retry needs, a re-read needs too."""

from tests.slices.quarantine.conftest import office, root, rules

__all__ = ["office", "root", "rules"]
