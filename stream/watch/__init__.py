"""From hours that changed to alerts: ``series`` holds what was spent, ``baseline`` says what is usual, ``case`` which
windows a rule looks at, ``judge`` which of them are news, ``drivers`` why, and ``wording`` tells a person. ``queries``
reads the figures, ``history`` remembers them, and ``watcher`` is the shell around them."""
