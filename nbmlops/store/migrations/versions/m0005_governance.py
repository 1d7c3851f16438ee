"""Evidence, reviews, votes, signatures, announcements. Released: never edited; a change is a new file."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Four new tables; new columns of model_versions, approvals and both ledgers."""
    op.create_table('evidence',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('version_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('report', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('files', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('seconds', sa.Float(precision=53), nullable=True),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_evidence')),
    sa.UniqueConstraint('version_id', 'kind', name=op.f('uq_evidence_version_id_kind'))
    )
    op.create_table('reviews',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('version', _BIG, autoincrement=False, nullable=False),
    sa.Column('environment', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('findings', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('notebook', sa.Text(), nullable=False),
    sa.Column('page', sa.Text(), nullable=True),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reviews'))
    )
    op.create_index('ix_reviews_name_version', 'reviews', ['name', 'version'], unique=False)
    op.create_table('approval_votes',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('approval_id', sa.Text(), nullable=False),
    sa.Column('decision', sa.Text(), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('identity', sa.Text(), nullable=False),
    sa.Column('roles', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.Column('event_seq', _BIG, autoincrement=False, nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_approval_votes'))
    )
    op.create_index(op.f('ix_approval_votes_approval_id'), 'approval_votes', ['approval_id'], unique=False)
    op.create_table('announcements',
    sa.Column('seq', _BIG, autoincrement=True, nullable=False),
    sa.Column('event_seq', _BIG, autoincrement=False, nullable=False),
    sa.Column('sink', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('attempts', _BIG, autoincrement=False, nullable=False),
    sa.Column('next_at', sa.Float(precision=53), nullable=False),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_announcements')),
    sa.UniqueConstraint('event_seq', 'sink', name=op.f('uq_announcements_event_seq_sink'))
    )
    op.create_index(op.f('ix_announcements_status'), 'announcements', ['status'], unique=False)
    op.add_column('model_versions', sa.Column('deleted_at', sa.Float(precision=53), nullable=True))
    op.add_column('approvals', sa.Column('policy', sa.JSON(none_as_null=True), nullable=True))
    op.add_column('approvals', sa.Column('expires_at', sa.Float(precision=53), nullable=True))
    op.add_column('approvals', sa.Column('review', sa.Text(), nullable=True))
    for name in ('ledger', 'merged_ledger'):
        op.add_column(name, sa.Column('signer', sa.Text(), nullable=True))
        op.add_column(name, sa.Column('signature', sa.Text(), nullable=True))
