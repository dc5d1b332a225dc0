"""Validation: the contract's rules over batches of rows as the reader gives them. `judge` is the verb."""

from kkbc.intake.validation.duplicates import RepeatedKeys
from kkbc.intake.validation.judge import Context, check_contract, duplicate_lines, judge, key_columns
from kkbc.intake.validation.judged import Judged

__all__ = ["Context", "Judged", "RepeatedKeys", "check_contract", "duplicate_lines", "judge", "key_columns"]
