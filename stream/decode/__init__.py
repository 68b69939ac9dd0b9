"""Bytes in, a checked frame and refusals out.

The contract of an event is in the client (`costream.events`); this room applies it to many messages at once. It is
pure: no Kafka, no warehouse, no clock of its own.
"""
