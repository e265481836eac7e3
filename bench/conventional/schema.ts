/**
 * The tables of the conventional stack, as its source documents name them, made lean: no foreign keys, the same three
 * indexes on scans that ours has, and room in the pages of what is updated, so that updates leave the indexes alone.
 */
import type postgres from 'postgres'
import { blakjaksRules } from '../../actors/programs/blakjaks/rules.js'

const tierCases = blakjaksRules.tiers
  .toReversed()
  .map(({ name, scans }) => `when scans >= ${scans} then '${name}'`)
  .join(' ')

const tables = `
create table users (
  id uuid primary key,
  lifetime_comps bigint not null default 0
) with (fillfactor = 80);
create table qr_codes (
  code text collate "C" primary key,
  status text not null,
  product_sku text not null,
  scanned_at timestamptz,
  scanned_by_user_id uuid
) with (fillfactor = 70);
create table scans (
  ordinal bigint generated always as identity primary key,
  id uuid not null,
  user_id uuid not null,
  code text collate "C" not null unique,
  scanned_at timestamptz not null,
  client_at timestamptz,
  quarter text not null,
  product_sku text not null,
  scan_method text not null,
  geolocation point,
  device_id text,
  ip_address inet
);
create index scans_user on scans (user_id, ordinal);
create table tier_history (
  user_id uuid not null,
  quarter text not null,
  scan_count integer not null,
  tier text not null,
  achieved_at timestamptz not null,
  primary key (user_id, quarter)
) with (fillfactor = 70);
create table comps (
  scan_id uuid not null,
  comp_type text not null,
  user_id uuid not null,
  amount bigint not null,
  milestone text not null,
  status text not null default 'pending',
  primary key (scan_id, comp_type)
);
create function tier_for(scans integer) returns text language sql immutable
return case ${tierCases} end;
`

export async function createTables(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(tables)
}
