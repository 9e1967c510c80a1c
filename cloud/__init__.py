"""The cloud service: ingest, pipeline (engine and store), API, stream; meets edges on the wire."""
