"""Spreadsheets: what a workbook (.xlsx) says, read by a process of its own that hostile bytes may kill.

`child` is what that process runs, `messages` what it and `kkbc.intake.reading.workbook` say to each other. It starts
in a few hundredths of a second because nothing here but `messages` imports more than the standard library.
"""
