"""One night, step by step. The DAGs and the command line call the same functions."""
