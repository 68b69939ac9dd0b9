"""Why 60 minutes cost more than usual. ``asking`` reads what ``evidence`` holds. From that alone ``drivers`` tells
which causes the figures support, ``difference`` how much of the rise each of them made, and ``words`` says it.
"""
