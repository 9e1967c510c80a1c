"""The store: PostgreSQL 15+ with or without TimescaleDB. Statements live in `queries/*.sql`."""
