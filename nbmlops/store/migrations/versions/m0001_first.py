"""The first schema. Released: never edited; a change is a new file."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """All tables of the first version."""
    op.create_table('alerts',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('report_id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('message', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('flow_id', sa.Text(), nullable=True),
    sa.Column('findings', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.Column('closed_at', sa.Float(precision=53), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alerts')),
    sqlite_with_rowid=True
    )
    op.create_index(op.f('ix_alerts_report_id'), 'alerts', ['report_id'], unique=False)
    op.create_table('alias_history',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('alias', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=True),
    sa.Column('previous', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=True),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.Column('event_seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=True),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_alias_history')),
    sqlite_with_rowid=True
    )
    op.create_index('ix_alias_history_name_alias', 'alias_history', ['name', 'alias'], unique=False)
    op.create_table('approvals',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('environment', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('created_at', sa.Float(precision=53), nullable=False),
    sa.Column('findings', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('decided_by', sa.Text(), nullable=True),
    sa.Column('decision', sa.Text(), nullable=True),
    sa.Column('decided_at', sa.Float(precision=53), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_approvals')),
    sqlite_with_rowid=True
    )
    op.create_index('ix_approvals_name_version', 'approvals', ['name', 'version'], unique=False)
    op.create_index(op.f('ix_approvals_status'), 'approvals', ['status'], unique=False)
    op.create_table('artifacts',
    sa.Column('run_seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('path', sa.Text(), nullable=False),
    sa.Column('digest', sa.Text(), nullable=False),
    sa.Column('bytes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('media_type', sa.Text(), nullable=False),
    sa.Column('created_at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('run_seq', 'path', name=op.f('pk_artifacts')),
    sqlite_with_rowid=False
    )
    op.create_table('dataset_aliases',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('alias', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.PrimaryKeyConstraint('name', 'alias', name=op.f('pk_dataset_aliases')),
    sqlite_with_rowid=False
    )
    op.create_table('dataset_uses',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('mode', sa.Text(), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_dataset_uses')),
    sa.UniqueConstraint('run_id', 'name', 'version', 'mode', name=op.f('uq_dataset_uses_run_id_name_version_mode')),
    sqlite_with_rowid=True
    )
    op.create_index('ix_dataset_uses_name_version', 'dataset_uses', ['name', 'version'], unique=False)
    op.create_index(op.f('ix_dataset_uses_run_id'), 'dataset_uses', ['run_id'], unique=False)
    op.create_table('dataset_versions',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('digest', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('format', sa.Text(), nullable=False),
    sa.Column('manifest', sa.Text(), nullable=False),
    sa.Column('profile', sa.Text(), nullable=False),
    sa.Column('rows', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('columns', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('bytes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('schema', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('message', sa.Text(), nullable=False),
    sa.Column('source', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('run_id', sa.Text(), nullable=True),
    sa.Column('created_at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_dataset_versions')),
    sa.UniqueConstraint('name', 'version', name=op.f('uq_dataset_versions_name_version')),
    sqlite_with_rowid=True
    )
    op.create_index('ix_dataset_versions_name_digest', 'dataset_versions', ['name', 'digest'], unique=False)
    op.create_index(op.f('ix_dataset_versions_run_id'), 'dataset_versions', ['run_id'], unique=False)
    op.create_table('datasets',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('created_at', sa.Float(precision=53), nullable=False),
    sa.Column('tags', sa.JSON(none_as_null=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_datasets')),
    sa.UniqueConstraint('name', name=op.f('uq_datasets_name')),
    sqlite_with_rowid=True
    )
    op.create_table('experiments',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('created_at', sa.Float(precision=53), nullable=False),
    sa.Column('tags', sa.JSON(none_as_null=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_experiments')),
    sa.UniqueConstraint('name', name=op.f('uq_experiments_name')),
    sqlite_with_rowid=True
    )
    op.create_table('feedback',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('prediction_id', sa.Text(), nullable=False),
    sa.Column('actual', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_feedback')),
    sqlite_with_rowid=True
    )
    op.create_index(op.f('ix_feedback_prediction_id'), 'feedback', ['prediction_id'], unique=False)
    op.create_table('flows',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('path', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('params', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('outputs', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('decision', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('trigger', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('spec', sa.Text(), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('started_at', sa.Float(precision=53), nullable=False),
    sa.Column('ended_at', sa.Float(precision=53), nullable=True),
    sa.Column('error', sa.JSON(none_as_null=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_flows')),
    sqlite_with_rowid=True
    )
    op.create_index(op.f('ix_flows_name'), 'flows', ['name'], unique=False)
    op.create_table('journals',
    sa.Column('run_seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('offset', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.PrimaryKeyConstraint('run_seq', 'name', name=op.f('pk_journals')),
    sqlite_with_rowid=False
    )
    op.create_table('keys',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_keys')),
    sa.UniqueConstraint('name', name=op.f('uq_keys_name')),
    sqlite_with_rowid=True
    )
    op.create_table('ledger',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('type', sa.Text(), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.Column('data', sa.Text(), nullable=False),
    sa.Column('previous', sa.Text(), nullable=False),
    sa.Column('hash', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_ledger')),
    sa.UniqueConstraint('id', name=op.f('uq_ledger_id')),
    sqlite_with_rowid=True
    )
    op.create_index(op.f('ix_ledger_subject'), 'ledger', ['subject'], unique=False)
    op.create_table('logged_models',
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('flavor', sa.Text(), nullable=False),
    sa.Column('package', sa.Text(), nullable=False),
    sa.Column('signature', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('profile', sa.Text(), nullable=True),
    sa.Column('bytes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('created_at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('run_id', 'name', name=op.f('pk_logged_models')),
    sqlite_with_rowid=False
    )
    op.create_table('meta',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_meta')),
    sqlite_with_rowid=False
    )
    op.create_table('metric_chunks',
    sa.Column('run_seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('key_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('chunk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('points', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('data', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('run_seq', 'key_id', 'chunk', name=op.f('pk_metric_chunks')),
    sqlite_with_rowid=False
    )
    op.create_table('metric_latest',
    sa.Column('run_seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('key_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('step', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.Column('value', sa.Float(precision=53), nullable=True),
    sa.Column('special', sa.Text(), nullable=True),
    sa.Column('minimum', sa.Float(precision=53), nullable=True),
    sa.Column('maximum', sa.Float(precision=53), nullable=True),
    sa.Column('points', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.PrimaryKeyConstraint('run_seq', 'key_id', name=op.f('pk_metric_latest')),
    sqlite_with_rowid=False
    )
    op.create_index('ix_metric_latest_key_id_value', 'metric_latest', ['key_id', 'value'], unique=False)
    op.create_table('model_aliases',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('alias', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.PrimaryKeyConstraint('name', 'alias', name=op.f('pk_model_aliases')),
    sqlite_with_rowid=False
    )
    op.create_table('model_versions',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('flavor', sa.Text(), nullable=False),
    sa.Column('package', sa.Text(), nullable=False),
    sa.Column('signature', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('metrics', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('profile', sa.Text(), nullable=True),
    sa.Column('datasets', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('run_id', sa.Text(), nullable=True),
    sa.Column('description', sa.Text(), nullable=False),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('bytes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('created_at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_model_versions')),
    sa.UniqueConstraint('name', 'version', name=op.f('uq_model_versions_name_version')),
    sqlite_with_rowid=True
    )
    op.create_index(op.f('ix_model_versions_run_id'), 'model_versions', ['run_id'], unique=False)
    op.create_table('models',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('created_at', sa.Float(precision=53), nullable=False),
    sa.Column('description', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_models')),
    sa.UniqueConstraint('name', name=op.f('uq_models_name')),
    sqlite_with_rowid=True
    )
    op.create_table('monitor_reports',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('since', sa.Float(precision=53), nullable=True),
    sa.Column('until', sa.Float(precision=53), nullable=True),
    sa.Column('rows', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('data', sa.Text(), nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_monitor_reports')),
    sqlite_with_rowid=True
    )
    op.create_index('ix_monitor_reports_name_version', 'monitor_reports', ['name', 'version'], unique=False)
    op.create_table('param_history',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('run_seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('key_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('at', sa.Float(precision=53), nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_param_history')),
    sqlite_with_rowid=True
    )
    op.create_index('ix_param_history_run_seq', 'param_history', ['run_seq'], unique=False)
    op.create_table('params',
    sa.Column('run_seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('key_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.Column('type', sa.Text(), nullable=False),
    sa.Column('number', sa.Float(precision=53), nullable=True),
    sa.PrimaryKeyConstraint('run_seq', 'key_id', name=op.f('pk_params')),
    sqlite_with_rowid=False
    )
    op.create_index('ix_params_key_id_value', 'params', ['key_id', 'value'], unique=False)
    op.create_table('prediction_batches',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('environment', sa.Text(), nullable=True),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('first_id', sa.Text(), nullable=False),
    sa.Column('last_id', sa.Text(), nullable=False),
    sa.Column('rows', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('data', sa.Text(), nullable=False),
    sa.Column('run_id', sa.Text(), nullable=True),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('since', sa.Float(precision=53), nullable=False),
    sa.Column('until', sa.Float(precision=53), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_prediction_batches')),
    sqlite_with_rowid=True
    )
    op.create_index('ix_prediction_batches_first_id', 'prediction_batches', ['first_id'], unique=False)
    op.create_index('ix_prediction_batches_name_version_since', 'prediction_batches', ['name', 'version', 'since'], unique=False)
    op.create_table('runs',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('experiment_id', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('started_at', sa.Float(precision=53), nullable=False),
    sa.Column('ended_at', sa.Float(precision=53), nullable=True),
    sa.Column('heartbeat_at', sa.Float(precision=53), nullable=False),
    sa.Column('deleted_at', sa.Float(precision=53), nullable=True),
    sa.Column('parent_id', sa.Text(), nullable=True),
    sa.Column('user', sa.Text(), nullable=False),
    sa.Column('host', sa.Text(), nullable=False),
    sa.Column('pid', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('source', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('git', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('environment', sa.Text(), nullable=True),
    sa.Column('description', sa.Text(), nullable=False),
    sa.Column('error', sa.JSON(none_as_null=True), nullable=True),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_runs')),
    sa.UniqueConstraint('id', name=op.f('uq_runs_id')),
    sqlite_with_rowid=True
    )
    op.create_index(op.f('ix_runs_experiment_id'), 'runs', ['experiment_id'], unique=False)
    op.create_index(op.f('ix_runs_parent_id'), 'runs', ['parent_id'], unique=False)
    op.create_index(op.f('ix_runs_started_at'), 'runs', ['started_at'], unique=False)
    op.create_index(op.f('ix_runs_status'), 'runs', ['status'], unique=False)
    op.create_table('stage_runs',
    sa.Column('run_id', sa.Text(), nullable=False),
    sa.Column('flow_id', sa.Text(), nullable=True),
    sa.Column('stage', sa.Text(), nullable=False),
    sa.Column('notebook', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('params', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('pins', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('source', sa.Text(), nullable=True),
    sa.Column('executed', sa.Text(), nullable=True),
    sa.Column('attempt', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('cells_done', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('cells', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('error', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('started_at', sa.Float(precision=53), nullable=False),
    sa.Column('ended_at', sa.Float(precision=53), nullable=True),
    sa.PrimaryKeyConstraint('run_id', name=op.f('pk_stage_runs')),
    sqlite_with_rowid=True
    )
    op.create_index(op.f('ix_stage_runs_flow_id'), 'stage_runs', ['flow_id'], unique=False)
    op.create_table('tags',
    sa.Column('run_seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('key_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('run_seq', 'key_id', name=op.f('pk_tags')),
    sqlite_with_rowid=False
    )
    op.create_index('ix_tags_key_id_value', 'tags', ['key_id', 'value'], unique=False)
