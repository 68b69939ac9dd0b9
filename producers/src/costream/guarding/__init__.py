"""What ``BudgetGuard`` is made of: how it knows which budgets are used up, without ever holding up the one who asks.

    usage.budgets ─▶ reader (a thread) ─▶ known (in memory) ◀─ asked (the values of a call) ◀─ check()

It is no API, and imports nothing but this package and confluent-kafka.
"""
