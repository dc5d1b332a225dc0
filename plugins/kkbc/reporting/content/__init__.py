"""What stands on a page, in Indonesian: figures become sentences, charts and tables; one module a kind of report."""
