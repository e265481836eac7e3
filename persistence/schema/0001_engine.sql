-- What the engine itself keeps: how far the journal is applied, and the state to start again from.
-- Written by the projector only, in one transaction with the rows of the same records (P1).
-- One Postgres schema holds one program; its shards share these tables.

create table projector_mark (
  shard text collate "C" primary key,
  applied_seq bigint not null check (applied_seq >= 0),
  -- The time of the last applied input, in milliseconds.
  applied_at_ms bigint not null,
  updated_at timestamptz not null default now()
);

-- The latest image of every actor. The key sorts by type, so the actors of a type are one range of it.
-- Room in each page lets updates stay in it (HOT), which spares the index.
create table actor_images (
  actor text collate "C" primary key,
  shard text collate "C" not null,
  seq bigint not null,
  image bytea not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

create table alarms (
  actor text collate "C" not null,
  name text collate "C" not null,
  shard text collate "C" not null,
  at_ms bigint not null,
  command text not null,
  args bytea not null,
  primary key (actor, name)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- Told but not yet consumed. `seq` and `number` are the two halves of the message's id.
create table messages (
  shard text collate "C" not null,
  seq bigint not null,
  number integer not null,
  command text not null,
  args bytea not null,
  primary key (shard, seq, number)
) with (autovacuum_vacuum_scale_factor = 0.05);

create table idempotency (
  shard text collate "C" not null,
  key text collate "C" not null,
  fingerprint text not null,
  at_ms bigint not null,
  seq bigint not null,
  -- Natural keys stay for ever, client keys for the window.
  forever boolean not null,
  outcome bytea not null,
  primary key (shard, key)
);
create index idempotency_window on idempotency (shard, at_ms) where not forever;

create table ledger_entries (
  shard text collate "C" not null,
  seq bigint not null,
  -- Position among the lines of the record; lines of one posting share `posting`.
  line integer not null,
  posting integer not null,
  posted_at timestamptz not null,
  kind text not null,
  reference text not null,
  account text collate "C" not null,
  currency text not null,
  -- Minor units; the lines of a posting sum to zero per currency (L2).
  amount numeric(38, 0) not null,
  primary key (shard, seq, line)
);
create index ledger_entries_account on ledger_entries (account, seq);
create index ledger_entries_reference on ledger_entries (reference);

-- Rows Postgres refused (P3). `row` is everything needed to insert it again by hand; then delete it here.
create table dead_letters (
  shard text collate "C" not null,
  seq bigint not null,
  table_name text not null,
  error_code text not null,
  error text not null,
  row json not null,
  parked_at timestamptz not null default now(),
  id bigint generated always as identity primary key
);
