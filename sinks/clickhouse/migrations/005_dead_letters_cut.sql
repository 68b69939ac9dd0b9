-- Of a refused record that is too large a head is kept. These say how large it was; a digest is empty where all is kept.
ALTER TABLE dead_letters
  ADD COLUMN IF NOT EXISTS value_bytes UInt64 DEFAULT length(value) CODEC(T64, ZSTD(1)),
  ADD COLUMN IF NOT EXISTS value_sha256 String CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS key_bytes UInt64 DEFAULT length(key) CODEC(T64, ZSTD(1)),
  ADD COLUMN IF NOT EXISTS key_sha256 String CODEC(ZSTD(1)),
  ADD COLUMN IF NOT EXISTS headers_count UInt64 DEFAULT JSONLength(headers) CODEC(T64, ZSTD(1)),
  ADD COLUMN IF NOT EXISTS headers_bytes UInt64 CODEC(T64, ZSTD(1)),
  ADD COLUMN IF NOT EXISTS headers_sha256 String CODEC(ZSTD(1));
