"""Where an alert reaches people: one class for each kind of channel, all with one method, ``send``.

A channel sends once and says whether it got through; when to try, and what not to send again, is decided by its caller.
Add a channel here. It must never import a worker, and never print a secret.
"""
