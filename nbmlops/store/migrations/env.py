"""Alembic looks for this file; nbmlops configures the environment itself, see ``migrations.migrate``."""
