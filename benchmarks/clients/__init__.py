"""The clients under measurement, each used as its documentation recommends.

A client is a factory: it imports what it needs, connects, and returns the function that is measured. That function
returns what it found, so that the counts can be checked.
"""
