-- They are few among many members.
create index users_administrators on users (member_since) where is_admin;
