-- Every message writes a row of message_search, and every new conversation one of title_search. Their keys to the conversation and to the user
-- were checked each time, although deleting either deletes the messages, and with them these rows. The index served only those checks.

alter table message_search
  drop constraint message_search_conversation_id_fkey,
  drop constraint message_search_user_id_fkey;
drop index message_search_conversation;
alter table title_search drop constraint title_search_user_id_fkey;
