"""Files of past calls as usage events: tables as people and other tools export them, or events as JSON Lines.

A row becomes one event, or a fault with its line and column; what would have to be guessed is a fault. ``source`` reads
the file, ``columns`` says which column is which field, ``cells`` what a cell says, and ``events`` puts them together.
Nothing here publishes, asks Kafka or reads a clock.
"""
