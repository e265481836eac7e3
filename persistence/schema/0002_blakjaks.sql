-- The tables of the BlakJaks program, named as in its plan. All are written behind by the projector; the truth they
-- show is decided in memory. Hence no foreign keys: a parked row must not take others with it (P3).
-- `seq` and `entry` name the fact a row comes from: its record and its place in it.

create function member_id(number integer, tier text) returns text
language sql immutable strict parallel safe
return 'BJ-' || lpad(number::text, greatest(4, length(number::text)), '0') || '-'
  || case tier when 'standard' then 'ST' when 'vip' then 'VIP' when 'high_roller' then 'HR' when 'whale' then 'WH' end;

-- Credentials are not here: they live in the account's image.
-- E-mail and username are unique by the directory; here a swap of two names within one batch must not collide.
create table users (
  id uuid primary key,
  number integer not null unique,
  member_id text not null generated always as (member_id(number, tier)) stored,
  email text,
  username text,
  full_name text,
  phone text,
  date_of_birth date,
  address_line1 text,
  address_line2 text,
  city text,
  state text,
  zip_code text,
  country text,
  tier text not null default 'standard' check (tier in ('standard', 'vip', 'high_roller', 'whale')),
  tier_status text not null default 'active' check (tier_status in ('active', 'locked')),
  language text,
  email_verified boolean not null default false,
  totp_enabled boolean not null default false,
  is_active boolean not null default true,
  is_admin boolean not null default false,
  referred_by_id uuid,
  member_since timestamptz not null,
  last_login timestamptz,
  locked_until timestamptz
) with (fillfactor = 80);
create index users_email on users (lower(email));
create index users_username on users (lower(username));
create index users_referred_by on users (referred_by_id) where referred_by_id is not null;

-- The directory as it is in memory, so that nothing is hashed again at a start: 64 bits of a name, and whose it is.
create table directory_members (
  number integer primary key,
  user_id uuid not null
);
create table directory_names (
  kind text collate "C" not null check (kind in ('email', 'username')),
  name_key bigint not null,
  member_number integer not null,
  primary key (kind, name_key)
);

create table account_events (
  seq bigint not null,
  entry integer not null,
  user_id uuid not null,
  kind text not null,
  session_id text,
  device text,
  ip_address inet,
  detail text,
  created_at timestamptz not null,
  primary key (seq, entry)
);
create index account_events_user on account_events (user_id, seq);

create table tier_history (
  seq bigint not null,
  entry integer not null,
  user_id uuid not null,
  quarter text not null,
  previous_tier text not null,
  tier text not null,
  scan_count integer not null,
  because text not null,
  achieved_at timestamptz not null,
  expires_at timestamptz,
  is_permanent boolean not null,
  primary key (seq, entry)
);
create index tier_history_user on tier_history (user_id, seq);

create table referral_tins (
  seq bigint not null,
  entry integer not null,
  user_id uuid not null,
  tins integer not null,
  total bigint not null,
  credited_at timestamptz not null,
  primary key (seq, entry)
);

create table affiliate_chips (
  seq bigint not null,
  entry integer not null,
  user_id uuid not null,
  referred_user_id uuid not null,
  scan_id uuid not null,
  chip_type text not null,
  chips_earned integer not null,
  earned_at timestamptz not null,
  primary key (seq, entry)
);
create index affiliate_chips_user on affiliate_chips (user_id, seq);
