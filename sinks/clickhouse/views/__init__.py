"""The views: every figure that readers, panels and reports are told, each defined once, in SQL.

``templates`` is what people edit: SQL with macros, so that what two views share is written once, and ``columns.toml``
with the names, types and comments of columns. ``sql`` is what `make schemas` makes of it, and what a warehouse is given
by `costream migrate up`. A view may be changed here at any time, without a numbered step; a table never.
"""
