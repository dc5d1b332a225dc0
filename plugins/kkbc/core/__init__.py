"""What every station stands on: settings, errors, the clock, policies, connections, tokens, files. Knows no branch."""
