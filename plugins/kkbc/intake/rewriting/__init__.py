"""Rewriting: a delivered file without some persons, in its own format. Nothing here knows of landing."""

from kkbc.intake.rewriting.files import holds_any, rewrite
from kkbc.intake.rewriting.persons import Persons, values_of, values_of_others

__all__ = ["Persons", "holds_any", "rewrite", "values_of", "values_of_others"]
