#!/bin/sh
# Creates the role that the server connects as, or sets its password. It is no superuser and owns nothing; migrations grant it what it needs.
# Postgres' image runs this when it creates its volume. On a volume that exists already:
# docker compose exec postgres sh /docker-entrypoint-initdb.d/quotient_app.sh
set -eu
psql -v ON_ERROR_STOP=1 -v password="$QUOTIENT_APP_PASSWORD" -U "$POSTGRES_USER" -d "${POSTGRES_DB:-$POSTGRES_USER}" <<'SQL'
select 'create role quotient_app' where not exists (select from pg_roles where rolname = 'quotient_app') \gexec
alter role quotient_app with login nosuperuser nocreatedb nocreaterole password :'password';
SQL
