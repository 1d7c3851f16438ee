"""Cells that ran, certificates, merged stores. Released: never edited; a change is a new file."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Seven new tables; a new column of runs."""
    op.create_table('cell_sessions',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('frontend', sa.Text(), nullable=False),
    sa.Column('notebook', sa.Text(), nullable=False),
    sa.Column('kernel_id', sa.Text(), nullable=True),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('host', sa.Text(), nullable=False),
    sa.Column('pid', _BIG, autoincrement=False, nullable=False),
    sa.Column('run_id', sa.Text(), nullable=True),
    sa.Column('started_at', sa.Float(precision=53), nullable=False),
    sa.Column('ended_at', sa.Float(precision=53), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_cell_sessions'))
    )
    op.create_index(op.f('ix_cell_sessions_kernel_id'), 'cell_sessions', ['kernel_id'], unique=False)
    op.create_index(op.f('ix_cell_sessions_run_id'), 'cell_sessions', ['run_id'], unique=False)
    op.create_table('cell_executions',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('session_id', sa.Text(), nullable=False),
    sa.Column('number', _BIG, autoincrement=False, nullable=False),
    sa.Column('cell_id', sa.Text(), nullable=True),
    sa.Column('count', _BIG, autoincrement=False, nullable=True),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('error', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('outputs', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('names', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('started_at', sa.Float(precision=53), nullable=False),
    sa.Column('seconds', sa.Float(precision=53), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_cell_executions')),
    sa.UniqueConstraint('session_id', 'number', name=op.f('uq_cell_executions_session_id_number'))
    )
    op.create_table('cell_touches',
    sa.Column('execution_id', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('mode', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('execution_id', 'kind', 'subject', 'name', 'mode', name=op.f('pk_cell_touches')),
    sqlite_with_rowid=False
    )
    op.create_index('ix_cell_touches_subject_kind_name', 'cell_touches', ['subject', 'kind', 'name'], unique=False)
    op.create_table('cell_journals',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('offset', _BIG, autoincrement=False, nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_cell_journals')),
    sqlite_with_rowid=False
    )
    op.create_table('certificates',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('report', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_certificates'))
    )
    op.create_index(op.f('ix_certificates_run_id'), 'certificates', ['run_id'], unique=False)
    op.create_table('merged_stores',
    sa.Column('store_id', sa.Text(), nullable=False),
    sa.Column('first_at', sa.Float(precision=53), nullable=False),
    sa.Column('last_at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('store_id', name=op.f('pk_merged_stores')),
    sqlite_with_rowid=False
    )
    op.create_table('merged_ledger',
    sa.Column('store_id', sa.Text(), nullable=False),
    sa.Column('seq', _BIG, autoincrement=False, nullable=False),
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('type', sa.Text(), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.Column('data', sa.Text(), nullable=False),
    sa.Column('previous', sa.Text(), nullable=False),
    sa.Column('hash', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('store_id', 'seq', name=op.f('pk_merged_ledger')),
    sqlite_with_rowid=False
    )
    op.create_index(op.f('ix_merged_ledger_subject'), 'merged_ledger', ['subject'], unique=False)
    op.add_column('runs', sa.Column('verdict', sa.JSON(none_as_null=True), nullable=True))
