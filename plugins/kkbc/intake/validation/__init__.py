"""Validation: the contract's rules over batches of rows as the reader gives them. `judge` is the verb."""

from kkbc.intake.validation.duplicates import RepeatedKeys
from kkbc.intake.validation.judge import Context, Judged, check_contract, duplicate_lines, judge, key_columns

__all__ = ["Context", "Judged", "RepeatedKeys", "check_contract", "duplicate_lines", "judge", "key_columns"]
