"""The local stack of a home folder: embedded PostgreSQL and Airflow, started, stopped, and played with."""

from kkbc_play.stack.lifecycle import State, down, states, up

__all__ = ["State", "down", "states", "up"]
