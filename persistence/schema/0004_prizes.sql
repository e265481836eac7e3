-- Prizes, what unlocks them, and the money behind them. Amounts are USDT.

create table comps (
  id uuid primary key,
  seq bigint not null,
  user_id uuid not null,
  type text not null check (type in ('crypto_100', 'crypto_1k', 'crypto_10k', 'trip', 'casino', 'new_member_guarantee')),
  amount numeric(20, 6) not null,
  status text not null default 'pending' check (status in ('pending', 'paid', 'failed', 'cancelled')),
  -- Whether the treasury holds the money; otherwise the comp waits for funds.
  funded boolean not null,
  trigger_scan_id uuid,
  ordinal bigint,
  milestone text,
  awarded_at timestamptz not null,
  paid_at timestamptz,
  transaction_hash text
);
create index comps_user on comps (user_id, awarded_at);
create index comps_status on comps (status, awarded_at);

-- Comps that wait for funds, in the order they were won.
create table unfunded_comps (
  comp_id text collate "C" primary key,
  seq bigint not null,
  entry integer not null,
  user_id text not null,
  -- Micro-USDT
  amount bigint not null
);

create table milestones_unclaimed (
  seq bigint not null,
  entry integer not null,
  ordinal bigint not null,
  user_id uuid not null,
  comp_type text not null,
  because text not null,
  passed_at timestamptz not null,
  primary key (seq, entry)
);

create table tins_sold (
  seq bigint not null,
  entry integer not null,
  tins integer not null,
  user_id uuid,
  reference text not null,
  monthly_average double precision not null,
  recorded_by text not null,
  sold_at timestamptz not null,
  primary key (seq, entry)
);

create table comp_unlocks (
  comp_type text primary key,
  monthly_average double precision not null,
  unlocked_by text not null,
  unlocked_at timestamptz not null
);

create table comp_unlock_thresholds (
  seq bigint not null,
  entry integer not null,
  comp_type text not null,
  tins_per_month bigint not null,
  changed_by text not null,
  changed_at timestamptz not null,
  primary key (seq, entry)
);

create table treasury_funding (
  seq bigint not null,
  entry integer not null,
  pool text not null check (pool in ('member', 'affiliate', 'wholesale')),
  amount numeric(20, 6) not null,
  reference text not null,
  recorded_by text not null,
  funded_at timestamptz not null,
  primary key (seq, entry)
);
