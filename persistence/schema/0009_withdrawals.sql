-- What members' own wallets send, and what comes into them from elsewhere. Amounts are USDT.

create table withdrawals (
  id text collate "C" primary key,
  seq bigint not null,
  user_id uuid not null,
  transaction_hash text not null,
  from_address text not null,
  -- Null while only the hash is known.
  to_address text,
  amount numeric(20, 6),
  state text not null default 'submitted' check (state in ('submitted', 'mined', 'completed', 'failed')),
  block_height bigint,
  because text,
  submitted_at timestamptz not null,
  moved_at timestamptz
);
create index withdrawals_user on withdrawals (user_id, seq, id);

-- Withdrawals that are not over, in the order in which they were submitted.
create table open_withdrawals (
  withdrawal_id text collate "C" primary key,
  seq bigint not null,
  entry integer not null,
  user_id text not null
);

-- Final transfers into members' wallets that are no payouts of ours (BJ-WAL-08).
create table external_deposits (
  id text collate "C" primary key,
  seq bigint not null,
  user_id uuid not null,
  transaction_hash text not null,
  log_index bigint not null,
  block_height bigint not null,
  from_address text not null,
  to_address text not null,
  amount numeric(20, 6) not null,
  seen_at timestamptz not null
);
create index external_deposits_user on external_deposits (user_id, seq, id);

-- The three are one list, newest first (BJ-WAL-03).
create index payouts_user_seq on payouts (user_id, seq, id);
