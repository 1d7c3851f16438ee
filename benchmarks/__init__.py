"""What nbmlops costs, beside what the best alternatives cost in the same run: ``python -m benchmarks.NAME``."""
