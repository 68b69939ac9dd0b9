"""What carries an event from ``record()`` to Kafka. The producer and its stand-in for tests use it; it is no API.

    record() -> intake -> door -> courier -> carrier -> link -> Kafka
                                             pending, loans, copies: who has a message now
                                             spool, disk: where it waits while Kafka is away
                                             drops, losses: what could not be kept is counted and told

Beside the way stand ``fork``, ``lifetime`` and ``real`` (hosts that fork, end, or patch threads), and ``voice`` and
``complaints`` (what is said, and how often).
"""
