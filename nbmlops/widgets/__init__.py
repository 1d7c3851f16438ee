"""Interactive views: anywidget modules in the package, no build step, no network, and a static twin of each.

Use ``nbmlops.widgets.table.table(records)`` and ``nbmlops.widgets.dashboard.dashboard(workspace)``; importing this
package alone imports nothing heavy.
"""
