"""What stages were made from, and what was reused, handed on and loaded. Released: never edited; a change is a new file."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Three new tables; new columns of flows and stage_runs."""
    op.create_table('model_uses',
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('version', _BIG, autoincrement=False, nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('run_id', 'name', 'version', name=op.f('pk_model_uses')),
    sqlite_with_rowid=False
    )
    op.create_index('ix_model_uses_name_version', 'model_uses', ['name', 'version'], unique=False)
    op.create_table('reused_stages',
    sa.Column('seq', _BIG, autoincrement=True, nullable=False),
    sa.Column('flow_id', sa.Text(), nullable=False),
    sa.Column('stage', sa.Text(), nullable=False),
    sa.Column('label', sa.Text(), nullable=False),
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_reused_stages'))
    )
    op.create_index(op.f('ix_reused_stages_flow_id'), 'reused_stages', ['flow_id'], unique=False)
    op.create_table('run_outputs',
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('value', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('run_id', 'name', name=op.f('pk_run_outputs')),
    sqlite_with_rowid=False
    )
    op.add_column('flows', sa.Column('pins', sa.JSON(none_as_null=True), nullable=True))
    op.add_column('flows', sa.Column('resumes', sa.Text(), nullable=True))
    for name in ('label', 'fingerprint', 'reason', 'worker'):
        op.add_column('stage_runs', sa.Column(name, sa.Text(), nullable=True))
    for name in ('facts', 'why'):
        op.add_column('stage_runs', sa.Column(name, sa.JSON(none_as_null=True), nullable=True))
    op.add_column('stage_runs', sa.Column('peak_memory', _BIG, nullable=True))
    op.create_index(op.f('ix_stage_runs_fingerprint'), 'stage_runs', ['fingerprint'], unique=False)
