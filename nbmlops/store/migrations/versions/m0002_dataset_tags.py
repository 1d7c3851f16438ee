"""Tags of data set versions. Released: never edited; a change is a new file."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """One new table."""
    op.create_table('dataset_tags',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('name', 'version', 'key', name=op.f('pk_dataset_tags')),
    sqlite_with_rowid=False
    )
    op.create_index('ix_dataset_tags_key_value', 'dataset_tags', ['key', 'value'], unique=False)
