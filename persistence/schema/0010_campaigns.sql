-- Campaigns: money of a pool, set aside for prizes of some types. Amounts are USDT.

create table campaign_steps (
  seq bigint not null,
  entry integer not null,
  campaign text collate "C" not null,
  step text not null check (step in ('opened', 'raised', 'closed')),
  -- Moved from the pool; when it was closed, moved back to it.
  amount numeric(20, 6) not null,
  detail text not null,
  changed_by text not null,
  changed_at timestamptz not null,
  primary key (seq, entry)
);
create index campaign_steps_campaign on campaign_steps (campaign, seq, entry);

-- The campaign that pays for it; null when the pool does.
alter table comps add column campaign text;
alter table unfunded_comps add column campaign text;
