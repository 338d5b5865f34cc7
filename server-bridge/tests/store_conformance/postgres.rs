//! What only PostgreSQL has: several processes on one database, a server that goes away, and tables that others made.
