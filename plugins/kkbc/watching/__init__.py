"""What people look at: status, board, branch page, messages, metrics."""
