"""What people and monitors read: status, board, branch page, messages, metrics; all of it from the views of `ops`."""
