"""Decisions without I/O: plain functions and plain state, property-tested, the same for every service.

Nothing here imports trio or httpx, reads a clock, rolls dice, opens files or looks at the environment.
"""
