"""From a branch's bytes to judged rows: sources, landing, reading, validation, and `process`, which joins them.

Nothing is imported here: the process that reads a workbook comes by, and must start in a few milliseconds.
"""
