-- What the chain was seen to hold against what the ledger says. Amounts are USDT.

-- Hourly (BJ-TRS-11, BJ-DATA-26).
create table treasury_snapshots (
  seq bigint not null,
  entry integer not null,
  timestamp timestamptz not null,
  -- Null for balances of bank accounts (BJ-T36).
  pool text check (pool in ('member', 'affiliate', 'wholesale')),
  block_height bigint,
  onchain_balance numeric(20, 6),
  -- What the wallet must hold by the ledger at that block; and, of that, what was on its way out.
  ledger_balance numeric(20, 6),
  in_flight numeric(20, 6),
  bank_balance numeric(20, 6),
  primary key (seq, entry)
);
create index treasury_snapshots_pool on treasury_snapshots (pool, seq desc);

-- Every comparison (BJ-REC-01, BJ-REC-02).
create table treasury_reconciliations (
  seq bigint not null,
  entry integer not null,
  reconciled_at timestamptz not null,
  pool text not null check (pool in ('member', 'affiliate', 'wholesale')),
  block_height bigint not null,
  onchain_balance numeric(20, 6) not null,
  ledger_balance numeric(20, 6) not null,
  in_flight numeric(20, 6) not null,
  difference numeric(20, 6) not null,
  status text not null check (status in ('balanced', 'discrepancy')),
  cause text not null check (cause in ('daily', 'demand', 'continuous')),
  primary key (seq, entry)
);
create index treasury_reconciliations_pool on treasury_reconciliations (pool, seq desc);

-- Payments out of a wallet that are no payout of ours.
create table foreign_transfers (
  seq bigint not null,
  entry integer not null,
  seen_at timestamptz not null,
  pool text not null check (pool in ('member', 'affiliate', 'wholesale')),
  transaction_hash text not null,
  block_height bigint not null,
  to_address text not null,
  amount numeric(20, 6) not null,
  primary key (seq, entry)
);

-- Lists, newest first, and the figures of the last day (BJ-PAY-08).
create index comps_seq on comps (seq, id);
create index payouts_seq on payouts (seq, id);
create index payouts_over on payouts (moved_at) where state in ('settled', 'failed');
