-- The chat: channels, messages with what members did to them, moderation, and what members are told of.

create table social_channels (
  id text collate "C" primary key,
  name text not null,
  description text not null,
  category text not null,
  icon text not null,
  tier_restriction text not null check (tier_restriction in ('all', 'vip', 'high_roller', 'whale')),
  is_voice boolean not null,
  display_order integer not null,
  is_active boolean not null,
  posting text not null check (posting in ('members', 'admins')),
  modes json not null,
  epoch text not null,
  created_by text not null,
  created_at timestamptz not null,
  changed_by text,
  changed_at timestamptz
);

-- Starts read the last messages of every channel back, so a row that is refused holds up everything (K1): hence no
-- checks. Deleted messages stay, for moderators, until all of their age are deleted for good (BJ-CHAT-20).
create table social_messages (
  id text collate "C" primary key,
  channel_id text collate "C" not null,
  -- Among the messages of the channel, from 1.
  number bigint not null,
  -- Steps of the channel: when it was posted (0 when that is not known any more), and when it changed last.
  posted_offset bigint not null default 0,
  changed_offset bigint not null,
  -- Its author as they were then; null for what the system says.
  user_id uuid,
  username text,
  tier text,
  is_admin boolean,
  is_system_message boolean not null generated always as (user_id is null) stored,
  message text not null,
  original_language text,
  media_type text not null,
  media_url text,
  media_code text,
  -- What it replies to, as that read then.
  reply_to_id text,
  reply_to_user_id uuid,
  reply_to_username text,
  reply_to_message text,
  -- User ids
  mentions json not null,
  -- How many members reacted, by emoji.
  reactions json not null,
  client_id text,
  pinned boolean not null,
  -- Who pinned it last, also when it is pinned no more.
  pinned_by_admin text,
  moderation_status text not null,
  created_at timestamptz not null,
  edited_at timestamptz,
  deleted_at timestamptz
) with (fillfactor = 80);
create index social_messages_channel on social_messages (channel_id, number);
create index social_messages_changed on social_messages (channel_id, changed_offset);
-- What had been said up to an offset.
create index social_messages_posted on social_messages (channel_id, posted_offset);

create table social_message_reactions (
  message_id text collate "C" not null,
  user_id uuid not null,
  emoji text collate "C" not null,
  created_at timestamptz not null,
  primary key (message_id, user_id, emoji)
);

-- Kept so that nothing is translated twice. `version` tells the edits of a message apart: the time of the last one in
-- milliseconds, or 0.
create table social_message_translations (
  message_id text collate "C" not null,
  language text collate "C" not null,
  version bigint not null,
  translated_text text not null,
  source_language text not null,
  translated_at timestamptz not null,
  primary key (message_id, language)
);

-- Reports of members, and what filters and word rules flagged. A decision on a message closes all its open reports.
create table chat_reports (
  id text collate "C" primary key,
  seq bigint not null,
  entry integer not null,
  -- Null when a member was reported, not a message.
  message_id text collate "C",
  channel_id text,
  -- Whose message, or who, it is about; null for the system.
  user_id uuid,
  because text not null,
  reported_by text not null,
  reported_at timestamptz not null,
  decision text check (decision in ('kept', 'removed', 'deleted')),
  closed_by text,
  closed_at timestamptz
);
create index chat_reports_open on chat_reports (seq, entry) where closed_at is null;
create index chat_reports_message on chat_reports (message_id) where message_id is not null;
create index chat_reports_user on chat_reports (user_id, seq);

-- What ended each message, or kept it, whether it was reported or not; goes with the message.
create table chat_report_decisions (
  seq bigint not null,
  entry integer not null,
  message_id text collate "C" not null,
  decision text not null check (decision in ('kept', 'removed', 'deleted')),
  decided_by text not null,
  decided_at timestamptz not null,
  primary key (seq, entry)
);
create index chat_report_decisions_message on chat_report_decisions (message_id);

-- Who may not write, from when until when; a null end is for good.
create table chat_silences (
  seq bigint not null,
  entry integer not null,
  user_id uuid not null,
  how text not null check (how in ('muted', 'timed_out', 'banned', 'lifted')),
  until timestamptz,
  because text,
  changed_by text not null,
  changed_at timestamptz not null,
  primary key (seq, entry)
);
create index chat_silences_user on chat_silences (user_id, seq, entry);

-- What was done by whom to what (BJ-MOD-07). `done_by` is a user id, `system` or `filter`.
create table audit_logs (
  seq bigint not null,
  entry integer not null,
  done_by text collate "C" not null,
  action text not null,
  resource_type text collate "C" not null,
  resource_id text collate "C" not null,
  changes json not null,
  created_at timestamptz not null,
  primary key (seq, entry)
);
create index audit_logs_resource on audit_logs (resource_type, resource_id, seq, entry);
create index audit_logs_done_by on audit_logs (done_by, seq, entry);

-- What a message says is not copied, so that nobody reads here what was removed there.
create table notifications (
  seq bigint not null,
  entry integer not null,
  user_id uuid not null,
  type text not null check (type in ('system', 'social', 'comp', 'order')),
  title text not null,
  body text,
  read boolean not null default false,
  data json not null,
  created_at timestamptz not null,
  primary key (seq, entry)
);
create index notifications_user on notifications (user_id, seq, entry);
create index notifications_unread on notifications (user_id) where not read;
