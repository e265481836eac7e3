-- Parked rows (P3) can be seen and retried. `row` is for eyes and for writing it again: numbers past 2^53 are text,
-- bytes are hexadecimal behind \x. Of a fact no row could be made of, `packed` is the fact itself.
-- A row that was written after all stays as a note of what happened, without its contents.
alter table dead_letters
  alter column row drop not null,
  add column kind text not null default 'put' check (kind in ('put', 'patch', 'remove', 'fact')),
  -- Names the row in a table whose rows are changed later: such changes wait behind it, so that none is overtaken.
  add column row_key text collate "C",
  -- The place of a fact in its record, and the time of the record's input in milliseconds.
  add column entry integer,
  add column at_ms bigint,
  add column packed bytea,
  add column attempts integer not null default 0,
  add column tried_at timestamptz,
  add column resolved_at timestamptz;

update dead_letters set kind = 'fact' where table_name like 'fact %' or table_name like 'delta %';
update dead_letters set kind = 'patch' where
  (table_name = 'users' and row -> 'number' is null)
  or (table_name = 'comps' and row -> 'seq' is null)
  or (table_name = 'qr_batches' and row -> 'name' is null);
update dead_letters set row_key = row ->> 'id' where table_name in ('users', 'comps', 'qr_batches');
update dead_letters set row_key = row ->> 'comp_type' where table_name = 'comp_unlocks';

create index dead_letters_parked on dead_letters (shard, id) where resolved_at is null;
create index dead_letters_keys on dead_letters (shard, table_name, row_key)
  where resolved_at is null and row_key is not null;
