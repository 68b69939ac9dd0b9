"""The warehouse: its words, its tables and views by numbered migrations, and the ways in and out of it.

A server and the embedded engine are reached by the same client, and a question is asked of both alike. What a table is
made of stands in migrations; a figure that people read is a view, and no second place works it out.
"""
