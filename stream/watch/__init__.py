"""From hours that changed to alerts: ``baseline`` says what is usual, ``judge`` what is not, ``drivers`` why,
``wording`` tells a person, ``queries`` reads the figures, and ``watcher`` is the shell around them."""

from stream.watch.watcher import Watcher

__all__ = ["Watcher"]
