# shellcheck shell=bash
# Databases: those named by DATABASE_URL, MIGRATE_DATABASE_URL and REDIS_URL, or private ones of this checkout on loopback.

postgres_bin() {
  local dir
  for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -Vr) "$(dirname "$(command -v postgres || echo /)")"; do
    [ -x "$dir/initdb" ] && [ "$("$dir/postgres" --version | grep -oE '[0-9]+' | head -n 1)" -ge 15 ] && { echo "$dir"; return; }
  done
  return 1
}

# Runs a command as a user that Postgres accepts: it refuses to run as root.
as_postgres() {
  if [ "$(id -u)" != 0 ]; then "$@"; else (cd / && runuser -u "$(id -un postgres 2>/dev/null || echo nobody)" -- "$@"); fi
}

postgres_home() {
  if as_postgres test -x "$DEV" 2>/dev/null; then
    echo "$DEV/postgres"
  else
    echo "${TMPDIR:-/tmp}/quotient-$(printf '%s' "$ROOT" | cksum | cut -d ' ' -f 1)"
  fi
}

# init_postgres HOME: creates an empty cluster in a directory.
init_postgres() {
  mkdir -p "$1"
  [ "$(id -u)" != 0 ] || chown "$(id -un postgres 2>/dev/null || echo nobody)" "$1"
  as_postgres "$PG_BIN/initdb" -D "$1/data" -U quotient -A trust -E UTF8 --locale=C.UTF-8 >"$DEV/postgres.log" 2>&1 || die "initdb failed (see .dev/postgres.log)"
}

# run_postgres HOME PORT [OPTIONS]: starts Postgres on loopback, or fails. Writes are not synced, so a crash of the machine may lose the last
# second.
run_postgres() {
  as_postgres "$PG_BIN/pg_ctl" -D "$1/data" -w -t 120 -l "$1/log" \
    -o "-p $2 -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=800 ${3:-}" start >"$DEV/postgres.log" 2>&1 || return
  "$PG_BIN/createdb" -h 127.0.0.1 -p "$2" -U quotient quotient 2>/dev/null || true
}

# postgres_urls PORT: exports the URLs of the server's role, which owns nothing, and of the tables' owner. Creates the role if it is missing.
postgres_urls() {
  "$PG_BIN/createuser" -h 127.0.0.1 -p "$1" -U quotient --no-superuser --no-createdb --no-createrole quotient_app 2>/dev/null || true
  export DATABASE_URL=postgres://quotient_app@127.0.0.1:$1/quotient MIGRATE_DATABASE_URL=postgres://quotient@127.0.0.1:$1/quotient
}

start_postgres() {
  local home; home=$(postgres_home)
  [ -s "$home/data/PG_VERSION" ] || init_postgres "$home"
  run_postgres "$home" "$(free_port postgres)" || die "Postgres didn't start (see .dev/postgres.log and $home/log)"
}

install_postgres() {
  PG_BIN=$(postgres_bin) || { step "Postgres" apt postgresql postgresql-client; PG_BIN=$(postgres_bin) || die "please install Postgres 15 or newer"; }
}

need_postgres() {
  [ -z "${DATABASE_URL:-}" ] || return 0
  install_postgres
  "$PG_BIN/pg_isready" -q -h 127.0.0.1 -p "$(free_port postgres)" || step "Postgres on 127.0.0.1:$(free_port postgres)" start_postgres
  postgres_urls "$(free_port postgres)"
}

# Writes its log without waiting for the disk: the tests' databases keep it busy, and a command that takes longer than 250 ms counts as failed.
start_redis() {
  mkdir -p "$DEV/redis"
  redis-server --port "$(free_port redis)" --bind 127.0.0.1 --daemonize yes --dir "$DEV/redis" --pidfile "$DEV/redis/pid" \
    --logfile "$DEV/redis.log" --appendonly yes --appendfsync no --save '' >/dev/null
  wait_for_port "$(free_port redis)" redis
}

need_redis() {
  [ -z "${REDIS_URL:-}" ] || return 0
  have redis-server || step "Redis" apt redis-server
  redis-cli -p "$(free_port redis)" ping >/dev/null 2>&1 || step "Redis on 127.0.0.1:$(free_port redis)" start_redis
  REDIS_URL=redis://127.0.0.1:$(free_port redis)
  export REDIS_URL
}

databases() { need_postgres; need_redis; }

# Starts a temporary cluster for the tests and removes it afterwards. Each test creates a database, which would accumulate in the
# development cluster.
need_test_postgres() {
  [ -z "${DATABASE_URL:-}" ] || return 0
  install_postgres
  local home old
  home=$(test_postgres_home)
  # Those of runs that were killed. In a container, a run may have the process id of an earlier one.
  for old in "$home".*; do
    if [ -d "$old" ] && { [ "${old##*.}" = $$ ] || ! kill -0 "${old##*.}" 2>/dev/null; }; then remove_test_postgres "$old"; fi
  done
  home=$home.$$
  at_exit "remove_test_postgres '$home'"
  step "Postgres for the tests" start_test_postgres "$home"
  postgres_urls "$TEST_POSTGRES_PORT"
}

# Prints where the tests' cluster lies: in memory where 4 GB are free, which takes a third of the time to create a database.
test_postgres_home() {
  local home; home=$(postgres_home)-test
  if [ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -ge 4000000 ] 2>/dev/null && [ -w /dev/shm ]; then
    home=/dev/shm/quotient-test-$(printf '%s' "$ROOT" | cksum | cut -d ' ' -f 1)
  fi
  echo "$home"
}

# start_test_postgres HOME: the data is discarded after the tests, so it runs without vacuum and with minimal WAL. The time zone isn't that of the
# machine. Sets TEST_POSTGRES_PORT.
start_test_postgres() {
  local options tries
  options="-c autovacuum=off -c wal_level=minimal -c max_wal_senders=0 -c max_wal_size=1GB -c checkpoint_timeout=1h -c shared_buffers=256MB -c timezone=UTC"
  # Otherwise it has statistics and parallel queries of all databases in /dev/shm, which may have only 64 MB.
  case $1 in /dev/shm/*) ;; *) options+=" -c dynamic_shared_memory_type=mmap" ;; esac
  init_postgres "$1"
  # Another program may have taken the port.
  for tries in 1 2 3 4 5; do
    TEST_POSTGRES_PORT=$(random_port)
    if run_postgres "$1" "$TEST_POSTGRES_PORT" "$options"; then return; fi
  done
  die "Postgres didn't start after $tries tries (see .dev/postgres.log and $1/log)"
}

remove_test_postgres() {
  as_postgres "$PG_BIN/pg_ctl" -D "$1/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$1"
}

# Starts a Redis for the tests that ends with this script. It keeps nothing on the disk: while the disk is busy, as after a build, a Redis that
# does stops responding for seconds.
need_test_redis() {
  [ -z "${REDIS_URL:-}" ] || return 0
  have redis-server || step "Redis" apt redis-server
  step "Redis for the tests" start_test_redis
}

start_test_redis() {
  local port child tries
  for tries in 1 2 3 4 5; do
    port=$(random_port)
    setpriv --pdeathsig KILL redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$DEV" >"$DEV/redis-test.log" 2>&1 &
    child=$!
    while kill -0 $child 2>/dev/null; do
      # Another program may have taken the port.
      case $(redis-cli -p "$port" info server 2>/dev/null) in
        *"process_id:$child"$'\r'*)
          at_exit "kill $child 2>/dev/null"
          export REDIS_URL=redis://127.0.0.1:$port
          return
          ;;
      esac
      sleep 0.05
    done
  done
  die "Redis didn't start after $tries tries (see .dev/redis-test.log)"
}

# Fails if an applied migration differs from its file: such a development database can't be migrated.
check_schema() {
  have psql || return 0
  local file version sum
  for file in migrations/*.sql; do
    version=$((10#$(basename "$file" | cut -d _ -f 1)))
    sum=$(sha384sum "$file" | cut -d ' ' -f 1)
    case $(psql -XAtq "$(owner_url)" -c "select encode(checksum, 'hex') = '$sum' from _sqlx_migrations where version = $version" 2>/dev/null || true) in
      f) die "this development database was created by different migrations; reset it (its data is lost): ./dev psql -c '\\c postgres' -c 'drop database quotient with (force)' -c 'create database quotient'" ;;
    esac
  done
}

cmd_down() {
  if [ -s "$DEV/redis/pid" ]; then redis-cli -p "$(free_port redis)" shutdown 2>/dev/null || true; fi
  if PG_BIN=$(postgres_bin) && [ -s "$(postgres_home)/data/postmaster.pid" ]; then
    as_postgres "$PG_BIN/pg_ctl" -D "$(postgres_home)/data" -m fast stop >/dev/null 2>&1 || true
  fi
  note "stopped the private databases; their data is kept"
}

# Prints the database URL of the tables' owner.
owner_url() { echo "${MIGRATE_DATABASE_URL:-$DATABASE_URL}"; }

cmd_psql() { need_postgres; need_psql; exec psql "$(owner_url)" "$@"; }

cmd_redis() { need_redis; exec redis-cli -u "$REDIS_URL" "$@"; }
