"""A row that lost its key to a retried one is displaced: the event of the quarantine gets that name.

Revision ID: 0017
Revises: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

MEANING = (
    "What became of quarantined rows by hand, by retry or by reading a slice again. accepted: passed and was loaded;"
    " judged_anew: still bad, with other codes, or bad again; {name}: an accepted row that lost its key to a retried"
    " one; found: an accepted row that is bad by the rules of a re-read; resolved: needs no more work."
)


def upgrade() -> None:
    """Renames the event."""
    _rename("beaten", "displaced")


def downgrade() -> None:
    """Gives it its earlier name."""
    _rename("displaced", "beaten")


def _rename(old: str, new: str) -> None:
    op.execute("alter table ops.quarantine_event drop constraint quarantine_event_event_check")
    op.execute(f"update ops.quarantine_event set event = '{new}' where event = '{old}'")  # noqa: S608 (constants)
    op.execute(
        "alter table ops.quarantine_event add constraint quarantine_event_event_check"
        f" check (event in ('accepted', 'judged_anew', '{new}', 'resolved', 'found'))"
    )
    op.execute(f"comment on table ops.quarantine_event is '{MEANING.format(name=new)}'")
