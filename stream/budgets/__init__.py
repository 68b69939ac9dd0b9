"""What may be spent, what was, and what is worth an alert: budgets and limits, exact, in any zone and currency.

Pure: it is given definitions, events and a time, and reads nothing. It imports no room but the pure ones.
"""
