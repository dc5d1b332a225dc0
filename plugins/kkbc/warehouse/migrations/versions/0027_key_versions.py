"""Every token begins with the version of its key, and keys can be changed.

Revision ID: 0027
Revises: 0026
"""

from pathlib import Path

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_CHANGED_KEYS = Path(__file__).with_name("0022_changed_keys.sql")


def upgrade() -> None:
    """Makes what a change of keys needs, and brings the tokens that are there to version 01."""
    script = Path(__file__).with_name("0027_key_versions.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))


def downgrade() -> None:
    """Takes it away. Tokens keep their version, which programs of before take for a part of the token."""
    function = _CHANGED_KEYS.read_text(encoding="utf-8").partition("create function ops.note_changed_keys()")[2]
    statement = f"create or replace function ops.note_changed_keys(){function.partition('$$;')[0]}$$"
    op.get_bind().exec_driver_sql(statement.replace("%", "%%"))
    op.execute("drop function ops.publication_digests()")
    op.execute("drop function ops.token_columns()")
    op.execute("drop table vault.new_token, vault.tokens_replaced_in")
    op.execute("delete from ops.setting where name in ('pii_key_version', 'pii_key_next_fingerprint')")
