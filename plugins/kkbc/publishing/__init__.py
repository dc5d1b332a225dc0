"""Publication: what was built and audited becomes what BI reads, and can be taken back.

`publish_marts` switches all tables in one transaction, `roll_back` restores an earlier publication, `foresee` tells
what a publication would change. `published_models` says what is published, and where to.
"""

from kkbc.marts.models import ForeignKey, PublishedModel, published_models
from kkbc.publishing.publish import Foreseen, foresee, publish_marts
from kkbc.publishing.record import Publication
from kkbc.publishing.rollback import roll_back

__all__ = [
    "ForeignKey",
    "Foreseen",
    "Publication",
    "PublishedModel",
    "foresee",
    "publish_marts",
    "published_models",
    "roll_back",
]
