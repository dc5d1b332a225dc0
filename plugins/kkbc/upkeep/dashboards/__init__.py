"""Dashboards as code: the bundle of Superset, checked against the marts, and the users that its readers are."""

from kkbc.upkeep.dashboards.bundle import Bundle, load_bundle

__all__ = ["Bundle", "load_bundle"]
