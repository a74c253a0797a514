"""The tables of the document that Canopy was made from (its step 3): same names, another shape."""

from __future__ import annotations

from wal.cassandra.session import Session

SEED_TABLES = (
    """training_metrics (
  run_id UUID,
  timestamp TIMESTAMP,
  epoch INT,
  train_loss DOUBLE,
  train_accuracy DOUBLE,
  val_loss DOUBLE,
  val_accuracy DOUBLE,
  learning_rate DOUBLE,
  PRIMARY KEY ((run_id), timestamp)
) WITH CLUSTERING ORDER BY (timestamp DESC)""",
    """network_topology (
  run_id UUID,
  timestamp TIMESTAMP,
  epoch INT,
  input_size INT,
  output_size INT,
  hidden_units INT,
  total_parameters INT,
  topology_json TEXT,
  PRIMARY KEY ((run_id), timestamp)
) WITH CLUSTERING ORDER BY (timestamp DESC)""",
    """training_runs (
  run_id UUID PRIMARY KEY,
  start_time TIMESTAMP,
  end_time TIMESTAMP,
  status TEXT,
  dataset_name TEXT,
  config_json TEXT,
  final_loss DOUBLE,
  final_accuracy DOUBLE
)""",
)
"""Each as it stands behind ``CREATE TABLE``."""


def make_keyspace(session: Session, keyspace: str, *tables: str) -> None:
    """A keyspace that somebody else made, with these tables: what stands behind ``CREATE TABLE``."""
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    session.driver.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
    for table in tables:
        session.driver.execute(f"CREATE TABLE {keyspace}.{table}")
