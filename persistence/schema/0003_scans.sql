-- Codes and their scans.

-- A code is two 30-bit halves, kept as one number of 60 bits.
create function code_text(code bigint) returns text
language sql immutable strict parallel safe
return (
  select string_agg(
    substr('ABCDEFGHJKLMNPQRSTUVWXYZ23456789', 1 + ((code >> (55 - 5 * symbol)) & 31)::integer, 1)
      || case when symbol in (3, 7) then '-' else '' end,
    '' order by symbol)
  from generate_series(0, 11) symbol
);

-- The hottest table: insert-only, and no index beyond these three. The one on the ordinal (BJ-T04) also carries what
-- a start needs to know which codes are used up.
create table scans (
  ordinal bigint not null,
  id uuid not null,
  user_id uuid not null,
  code bigint not null,
  scanned_at timestamptz not null,
  client_at timestamptz,
  seq bigint not null,
  code_row integer not null,
  quarter_scans integer not null,
  device_fingerprint smallint not null,
  scan_method text not null,
  product_sku text not null,
  quarter text not null,
  tier text not null,
  -- (latitude, longitude)
  geolocation point,
  device_id text,
  ip_address inet,
  comp_type text,
  -- USDT
  comp_amount numeric(20, 6),
  milestone_hit text,
  primary key (ordinal) include (code_row, device_fingerprint)
);
create index scans_user on scans (user_id, ordinal);
create unique index scans_code on scans (code);

create table scan_attempts (
  seq bigint not null,
  entry integer not null,
  id uuid not null,
  user_id uuid not null,
  -- As it was typed; `code` is null when that can be no code.
  typed text not null,
  code bigint,
  reason text not null,
  device_id text,
  ip_address inet,
  attempted_at timestamptz not null,
  primary key (seq, entry)
);
create index scan_attempts_code on scan_attempts (code) where code is not null;

create table scan_flags (
  seq bigint not null,
  entry integer not null,
  user_id uuid not null,
  scan_id uuid not null,
  rule text not null,
  detail text not null,
  flagged_at timestamptz not null,
  primary key (seq, entry)
);
create index scan_flags_user on scan_flags (user_id, seq);

create table qr_batches (
  id integer primary key,
  name text not null,
  product_sku text not null,
  code_count integer not null,
  checksum boolean not null,
  created_by text not null,
  generated_at timestamptz not null,
  completed_at timestamptz,
  exported_at timestamptz
);

-- Up to 10,000 codes a row, eight bytes and one status byte each. `first_row` is the row in the code book of the
-- first one. A scanned code keeps the status it had here: its scan says the rest.
create table qr_code_chunks (
  chunk integer primary key,
  first_row integer not null unique,
  code_count integer not null,
  batch_id integer not null,
  generated_at timestamptz not null,
  codes bytea not null,
  statuses bytea not null
);
alter table qr_code_chunks alter column codes set storage external;

-- Which rows of the code book got which status when; `runs` is first row, count, first row, count, …
create table qr_status_changes (
  seq bigint not null,
  entry integer not null,
  status text not null,
  first_row integer not null,
  end_row integer not null,
  runs integer[] not null,
  changed_at timestamptz not null,
  primary key (seq, entry)
);

create function code_status(state integer) returns text
language sql immutable strict parallel safe
return (array['generated', 'manufactured', 'scanned', 'invalidated'])[1 + (state & 3)];

-- Gives the rows in `runs`, which ascend, a status. Each chunk they touch is read and written once.
create function set_code_status(runs integer[], new_status text) returns void
language plpgsql as $$
declare
  state integer := array_position(array['generated', 'manufactured', 'scanned', 'invalidated'], new_status) - 1;
  held qr_code_chunks%rowtype;
  next_row integer;
  end_row integer;
  part integer;
begin
  held.code_count := 0;
  for run in 1 .. cardinality(runs) / 2 loop
    next_row := runs[2 * run - 1];
    end_row := next_row + runs[2 * run];
    while next_row < end_row loop
      if held.code_count = 0 or next_row >= held.first_row + held.code_count then
        update qr_code_chunks set statuses = held.statuses where chunk = held.chunk;
        select * into strict held from qr_code_chunks
          where first_row <= next_row order by first_row desc limit 1;
      end if;
      part := least(end_row, held.first_row + held.code_count) - next_row;
      held.statuses := overlay(held.statuses
        placing decode(repeat(lpad(to_hex(state), 2, '0'), part), 'hex')
        from 1 + next_row - held.first_row for part);
      next_row := next_row + part;
    end loop;
  end loop;
  update qr_code_chunks set statuses = held.statuses where chunk = held.chunk;
end $$;

-- The codes of a chunk, one row each.
create function chunk_codes(codes bytea, statuses bytea)
returns table (place integer, code bigint, status text)
language plpgsql immutable strict rows 10000 as $$
declare
  -- Unpacked once, not once a code.
  all_codes bytea := codes || ''::bytea;
  all_statuses bytea := statuses || ''::bytea;
  packed bigint;
begin
  for at in 0 .. length(all_statuses) - 1 loop
    packed := ('x' || encode(substring(all_codes from 8 * at + 1 for 8), 'hex'))::bit(64)::bigint;
    place := at;
    code := (packed >> 32 << 30) | (packed & 1073741823);
    status := code_status(get_byte(all_statuses, at));
    return next;
  end loop;
end $$;

-- One row per code, for people with questions: filter by batch_id where possible.
create view qr_codes as
select
  code_text(unpacked.code) as code,
  case when scans.ordinal is null then unpacked.status else 'scanned' end as status,
  chunks.generated_at,
  (
    select max(changed_at) from qr_status_changes changes
    where changes.status = 'manufactured'
      and chunks.first_row + place >= changes.first_row and chunks.first_row + place < changes.end_row
      and exists (
        select from generate_series(1, cardinality(changes.runs), 2) run
        where chunks.first_row + place >= changes.runs[run]
          and chunks.first_row + place < changes.runs[run] + changes.runs[run + 1]
      )
  ) as manufactured_at,
  scans.scanned_at,
  scans.user_id as scanned_by_user_id,
  chunks.batch_id,
  batches.product_sku,
  chunks.first_row + place as code_row
from qr_code_chunks chunks
cross join lateral chunk_codes(chunks.codes, chunks.statuses) unpacked
left join scans on scans.code = unpacked.code
left join qr_batches batches on batches.id = chunks.batch_id;
