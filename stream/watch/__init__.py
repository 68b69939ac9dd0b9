"""From hours that changed to alerts. ``rules`` says what is worth one, a class each: a new rule changes nothing here.

Rules about 60 minutes share what they need: ``scopes`` says of which calls, ``series`` what was spent, ``baseline``
says what is usual (by the statistics of ``usual`` and ``few_calls``), ``case`` looks at windows, ``judge`` says which
are news, ``reasons`` why, and ``wording`` tells a person; ``queries`` reads the figures and ``history`` remembers them.
``unpriced`` asks which models have calls without a price, ``unpriced_words`` tells of them. ``watcher`` and ``keeper``
are the shells that ask the rules in a ``turn``: only they publish and store alerts. ``limits`` publishes whose new
calls may be refused, from what the rule about budgets has read. ``playing`` plays a history on a clock of its own."""
