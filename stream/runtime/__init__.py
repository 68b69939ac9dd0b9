"""What every process of costream needs, whatever it does: settings, logs, the way to Kafka, patience with outages.

Add here what several rooms would otherwise write twice. It knows nothing of events, prices or alerts, and imports no
other room of the stream.
"""
