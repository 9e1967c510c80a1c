"""The one contract: messages, columns, batches, topics, codecs, maps, errors, plug-in discovery.

Imports numpy, pydantic, pyarrow and the standard library only, so that a vehicle, an edge and
a notebook can all afford it.
"""
