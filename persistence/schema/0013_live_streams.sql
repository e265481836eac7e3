-- Live events, as they are now (BJ-DATA-24). What is scheduled or live is also in memory; the archive is read here.
create table live_streams (
  id text collate "C" primary key,
  -- Goes up with every change.
  version bigint not null,
  title text not null,
  description text not null,
  stream_key text collate "C" not null unique,
  status text not null check (status in ('scheduled', 'live', 'ended', 'cancelled')),
  scheduled_at timestamptz not null,
  started_at timestamptz,
  ended_at timestamptz,
  viewer_count integer not null,
  peak_viewers integer not null,
  host_name text not null,
  vod_url text,
  -- An announcement over the picture.
  overlay text,
  overlay_pinned_at timestamptz,
  tier_restriction text not null check (tier_restriction in ('all', 'vip', 'high_roller', 'whale')),
  channel_id text collate "C" not null,
  created_by_admin text not null,
  created_at timestamptz not null
) with (fillfactor = 80);
create index live_streams_status on live_streams (status, scheduled_at);
create index live_streams_archive on live_streams (ended_at, id) where status = 'ended';
