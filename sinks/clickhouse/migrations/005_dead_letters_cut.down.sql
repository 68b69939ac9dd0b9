-- The letters stay; how large the cut ones were is forgotten.
ALTER TABLE dead_letters
  DROP COLUMN IF EXISTS value_bytes,
  DROP COLUMN IF EXISTS value_sha256,
  DROP COLUMN IF EXISTS key_bytes,
  DROP COLUMN IF EXISTS key_sha256,
  DROP COLUMN IF EXISTS headers_count,
  DROP COLUMN IF EXISTS headers_bytes,
  DROP COLUMN IF EXISTS headers_sha256;
