# shellcheck shell=bash
# Messages, timing and system packages.

die() { printf 'dev: %s\n' "$*" >&2; exit 1; }

note() { printf 'dev: %s\n' "$*" >&2; }

# seconds_since NANOSECONDS: elapsed time with one decimal.
seconds_since() { awk -v ns=$(($(date +%s%N) - $1)) 'BEGIN { printf "%.1f", ns / 1e9 }'; }

# step TITLE COMMAND…: runs a command and prints how long it took.
step() {
  local title=$1 began; shift
  began=$(date +%s%N)
  printf '· %s\n' "$title" >&2
  "$@" || return
  printf '  done in %s s (%s)\n' "$(seconds_since "$began")" "$title" >&2
}

have() { command -v "$1" >/dev/null 2>&1; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

can_apt() { have apt-get && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; }

# apt PACKAGE…: installs system packages, or exits with a message that names them.
apt() {
  can_apt || die "please install: $*"
  if ! apt_get install -y --no-install-recommends "$@" >"$DEV/apt.log" 2>&1; then
    apt_get update >"$DEV/apt.log" 2>&1 || true
    apt_get install -y --no-install-recommends "$@" >"$DEV/apt.log" 2>&1 ||
      die "apt-get can't install $* (see .dev/apt.log); please install them"
  fi
}

# Retries downloads, and waits for another apt-get, such as the daily upgrade of a machine that has just started.
apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600 "$@"; }

# free_port NAME: prints a port that this checkout keeps between runs: the first free one starting at a hash of its path.
free_port() {
  local file=$DEV/$1.port port
  if [ ! -s "$file" ]; then
    # Below the ports that the system gives to outgoing connections, which begin at 32768.
    port=$((20000 + $(printf '%s %s' "$ROOT" "$1" | cksum | cut -d ' ' -f 1) % 12000))
    while port_answers "$port"; do port=$((port + 1)); done
    echo $port >"$file"
  fi
  cat "$file"
}

# Prints a port on which nothing listens, below those of outgoing connections. Another program may take it before it is used.
random_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); port_answers "$port"; do :; done
  echo "$port"
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# wait_for_port PORT NAME: waits up to two minutes for a listener, or exits with an error.
wait_for_port() {
  local tries
  for tries in $(seq 2400); do port_answers "$1" && return; sleep 0.05; done
  die "$2 didn't start on port $1 after $tries tries (see .dev/$2.log)"
}
