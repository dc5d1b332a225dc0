"""Branches that mean harm, on real sockets of this machine: what each sends has no measure, or no end.

Every one of them has good deliveries of the days before and after. `bench/hostile.py` measures visits to them, and
`tests/intake/sources/test_hostile.py` says what must come of them.
"""

from .api import (
    continue_for_ever,
    cursor_of_ten_megabytes,
    early_hints_for_ever,
    header_in_drips,
    manifest_that_unfolds,
    odd_answer,
    page_of_lists,
    rows_without_end,
)
from .attack import DAY, DAYS, FEEDS, Attack, deliveries
from .database import rows_of_two_megabytes
from .folders import sparse_folder
from .s3 import endless_s3_listing, listing_of_a_hundred_megabytes, sparse_s3
from .sftp import (
    attributes_without_number,
    endless_sftp_listing,
    names_in_one_answer,
    names_without_number,
    packet_of_four_gigabytes,
    sparse_sftp,
)

__all__ = [
    "DAY",
    "DAYS",
    "FEEDS",
    "Attack",
    "attributes_without_number",
    "continue_for_ever",
    "cursor_of_ten_megabytes",
    "deliveries",
    "early_hints_for_ever",
    "endless_s3_listing",
    "endless_sftp_listing",
    "header_in_drips",
    "listing_of_a_hundred_megabytes",
    "manifest_that_unfolds",
    "names_in_one_answer",
    "names_without_number",
    "odd_answer",
    "packet_of_four_gigabytes",
    "page_of_lists",
    "rows_of_two_megabytes",
    "rows_without_end",
    "sparse_folder",
    "sparse_s3",
    "sparse_sftp",
]
