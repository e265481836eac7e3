-- Scans are folded into the status bytes of the code chunks, many at a time, so that a start need not read them all.

-- Every scan up to this ordinal, parked ones too, is in the chunks: status `scanned`, device fingerprint above it. A
-- later scan may be or not. No row: none need be. What a chunk says of a code that is not scanned is as before.
create table code_fold_mark (
  only_row boolean primary key default true check (only_row),
  folded_ordinal bigint not null
);

-- Room in each page lets folds stay in it (HOT), which spares the indexes.
alter table qr_code_chunks set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1);
