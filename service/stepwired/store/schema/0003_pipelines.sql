-- Pipelines: compositions of steps that are kept by name and version. A version never changes once it is there.

CREATE TABLE pipeline (
  key INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  rank BLOB NOT NULL,  -- the version, so that bytes sort as its numbers do (see `versions.rank`)
  version TEXT NOT NULL,
  digest BLOB NOT NULL,  -- SHA-256 of what was saved, without name, version and time
  create_time_us INTEGER NOT NULL,
  -- stepwire.v1.Pipeline in two parts, so that a list need not read steps: parts that are joined are the whole message.
  facts BLOB NOT NULL,
  steps BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX pipeline_version ON pipeline (name, rank);
