"""The figures of a report, computed from one snapshot: no text and no drawing, so that each can be tested by itself."""
