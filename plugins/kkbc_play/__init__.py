"""The branches as a play, and a stack for one machine: what tries the platform out and is no part of it.

Nothing in `kkbc` imports it; it is found by its entry points, see `kkbc.core.extensions`.
"""
