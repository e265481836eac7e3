-- Payouts: who is paid, by what transaction, and how each got there. Amounts are USDT; fees are in the chain's own coin.

create table payouts (
  id text collate "C" primary key,
  seq bigint not null,
  wallet text not null,
  kind text not null check (kind in ('comp', 'send')),
  -- What it pays: a comp, say.
  reference text not null,
  user_id uuid,
  amount numeric(20, 6) not null,
  requested_by text not null,
  requested_at timestamptz not null,
  state text not null default 'waiting' check (state in (
    'waiting', 'review', 'queued', 'prepared', 'signed', 'mined', 'settled', 'failed', 'cancelled')),
  attempt integer not null default 1,
  to_address text,
  nonce bigint,
  transaction_hash text,
  block_height bigint,
  fee numeric(38, 0),
  because text,
  moved_at timestamptz
);
create index payouts_state on payouts (state, requested_at);
create index payouts_user on payouts (user_id, requested_at);

-- The audit trail (BJ-PAY-06): every step of every payout.
create table payout_steps (
  seq bigint not null,
  entry integer not null,
  payout_id text collate "C" not null,
  attempt integer not null,
  state text not null,
  to_address text,
  nonce bigint,
  transaction_hash text,
  block_height bigint,
  because text,
  moved_by text,
  moved_at timestamptz not null,
  primary key (seq, entry)
);
create index payout_steps_payout on payout_steps (payout_id, seq, entry);
create index payout_steps_hash on payout_steps (transaction_hash) where transaction_hash is not null;

create table payout_approvals (
  seq bigint not null,
  entry integer not null,
  payout_id text collate "C" not null,
  intent text not null,
  approved_by text not null,
  approved_at timestamptz not null,
  primary key (seq, entry)
);

-- Payouts that are not over, in the order in which they came to where they are.
create table open_payouts (
  payout_id text collate "C" primary key,
  seq bigint not null,
  entry integer not null,
  wallet text not null,
  state text not null,
  payee text not null,
  -- Minor units
  amount bigint not null
);

create table wallet_steps (
  seq bigint not null,
  entry integer not null,
  wallet text not null,
  state text not null check (state in ('bound', 'paused', 'resumed')),
  detail text not null,
  changed_by text not null,
  changed_at timestamptz not null,
  primary key (seq, entry)
);

-- Where members are paid (BJ-WAL-01).
create table member_wallets (
  user_id uuid primary key,
  address text not null,
  provider text not null check (provider in ('external', 'development')),
  set_at timestamptz not null
);
create index member_wallets_address on member_wallets (address);
