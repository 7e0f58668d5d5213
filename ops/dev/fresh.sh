# shellcheck shell=bash
# Tests the setup of a new checkout: the last commit in an empty directory, with nothing built or downloaded before.

# fresh [--chroot] [--docker-steps | up test release]: runs ./dev up, ./dev test and ./dev release (or those of them that are named),
# or the Dockerfile's RUN lines, in a clone of the last commit with an empty HOME, CARGO_HOME and target folder; with --chroot in a
# new Debian made by debootstrap as well.
cmd_fresh() {
  local chroot='' steps=first_hour arg
  FRESH_COMMANDS=''
  for arg in "$@"; do
    case $arg in
      --chroot) chroot=1 ;;
      --docker-steps) steps=docker_steps ;;
      up | test | release) FRESH_COMMANDS+=" $arg" ;;
      *) die "fresh takes --chroot, --docker-steps, and any of up, test and release" ;;
    esac
  done
  FRESH_COMMANDS=${FRESH_COMMANDS:- up test release}
  [ -z "$(git status --porcelain)" ] || note "only the last commit is tried: there are uncommitted changes"
  FRESH=$(mktemp -d "${TMPDIR:-/tmp}/quotient-fresh.XXXXXX")
  chmod 755 "$FRESH"
  if [ -n "$chroot" ]; then in_chroot $steps; else on_this_machine $steps; fi
}

# timed TITLE COMMAND…: like step, records the time for the final table, and exits if the command fails.
timed() {
  local title=$1 began; shift
  began=$(date +%s%N)
  printf '· %s\n' "$title" >&2
  "$@" >"$FRESH/log" 2>&1 || { FRESH_FAILED=1; tail -n 60 "$FRESH/log" >&2; die "$title failed after $(seconds_since "$began") s (full output: $FRESH/log)"; }
  printf '%8s s  %s\n' "$(seconds_since "$began")" "$title" | tee -a "$FRESH/times" >&2
}

# Network settings of this machine that are passed through to the clone: proxies and certificate files.
NETWORK_VARIABLES=(HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy NODE_EXTRA_CA_CERTS SSL_CERT_FILE CURL_CA_BUNDLE GIT_SSL_CAINFO)

network_settings() {
  local name
  for name in "${NETWORK_VARIABLES[@]}"; do [ -z "${!name:-}" ] || printf '%s=%s\n' "$name" "${!name}"; done
}

# inside COMMAND…: runs a command in the clone with a clean environment, without this user's files and settings.
inside() {
  local network; mapfile -t network < <(network_settings)
  if [ -n "${CHROOT:-}" ]; then
    as_root chroot "$CHROOT" /usr/bin/env -i HOME=/root CARGO_HOME=/root/.cargo RUSTUP_HOME=/opt/rustup TERM=dumb CI="${CI:-}" "${network[@]}" \
      PATH=/opt/rustup-bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -c 'cd /src && "$@"' _ "$@"
  else
    (cd "$FRESH/src" && env -i HOME="$FRESH/home" CARGO_HOME="$FRESH/home/.cargo" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" TERM=dumb \
      "${network[@]}" CI="${CI:-}" PATH="$(dirname "$(command -v rustup)"):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@")
  fi
}

copy_network_settings() {
  local home=$1
  mkdir -p "$home/.cargo"
  [ ! -f "$HOME/.npmrc" ] || cp "$HOME/.npmrc" "$home/"
  [ ! -f "${CARGO_HOME:-$HOME/.cargo}/config.toml" ] || cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$home/.cargo/"
}

on_this_machine() {
  git clone -q "$ROOT" "$FRESH/src"
  copy_network_settings "$FRESH/home"
  at_exit "fresh_cleanup"
  "$1"
  fresh_report
}

in_chroot() {
  [ "$(id -u)" = 0 ] || die "--chroot needs root"
  have debootstrap || step "debootstrap" apt debootstrap
  CHROOT=$FRESH/root
  local mirror
  # The mirror that apt uses here, if this is a Debian. The format is apt's.
  # shellcheck disable=SC2016
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 2>/dev/null | head -n 1) || true
  at_exit "fresh_cleanup"
  timed "Debian (debootstrap)" debootstrap --variant=minbase --include=git,curl,ca-certificates,procps bookworm "$CHROOT" "${mirror:-http://deb.debian.org/debian}"
  local name
  for name in proc sys dev; do mount --rbind "/$name" "$CHROOT/$name" || die "can't mount /$name in a chroot here"; done
  cp -L /etc/resolv.conf /etc/hosts "$CHROOT/etc/"
  cp -r /etc/ssl/certs/. "$CHROOT/etc/ssl/certs/"
  copy_network_settings "$CHROOT/root"
  for name in "${NETWORK_VARIABLES[@]}"; do
    [ ! -f "${!name:-}" ] || install -D -m 644 "${!name}" "$CHROOT${!name}"
  done
  # Installs rustup's toolchain as its installer would.
  local toolchain; toolchain=$(basename "$(rustc --print sysroot)")
  mkdir -p "$CHROOT/opt/rustup/toolchains" "$CHROOT/opt/rustup-bin"
  cp -r "$(rustc --print sysroot)" "$CHROOT/opt/rustup/toolchains/$toolchain"
  printf 'version = "12"\nprofile = "minimal"\ndefault_toolchain = "%s"\n' "$toolchain" >"$CHROOT/opt/rustup/settings.toml"
  cp -P "$(dirname "$(command -v rustup)")"/* "$CHROOT/opt/rustup-bin/"
  git clone -q "$ROOT" "$CHROOT/src"
  "$1"
  fresh_report
}

first_hour() {
  local command
  for command in $FRESH_COMMANDS; do
    case $command in
      up) timed "./dev up, until it serves" up_until_ready ;;
      test)
        timed "./dev test" inside ./dev test
        grep -E '^test result|^ℹ (tests|pass|fail)' "$FRESH/log" | awk '{ print "            " $0 }' >&2
        ;;
      release)
        timed "./dev release" inside ./dev release
        grep -E 'bytes  ' "$FRESH/log" >&2
        ;;
    esac
  done
}

up_until_ready() {
  local port child tries pid shows=''
  port=$(free_port fresh)
  inside env LISTEN_ADDR="127.0.0.1:$port" ./dev up &
  child=$!
  for tries in $(seq 3600); do
    kill -0 $child 2>/dev/null || { echo "./dev up ended after $tries s"; return 1; }
    if curl -fsS -o /dev/null "http://127.0.0.1:$port/readyz" 2>/dev/null; then
      curl -fsS -o "$FRESH/page" "http://127.0.0.1:$port/" && grep -q '<html' "$FRESH/page" || shows=no
      # Stops only the server of this clone.
      for pid in $(pgrep -f '^target/up/quotient'); do
        case $(readlink "/proc/$pid/cwd") in "$FRESH"/*) kill -TERM "$pid" ;; esac
      done
      wait $child && [ -z "$shows" ]
      return
    fi
    sleep 1
  done
  return 1
}

# Runs the RUN lines of the Dockerfile in order. COPY lines are skipped, because the clone already has all files.
docker_steps() {
  local line
  while IFS= read -r line; do
    timed "RUN $(printf '%s' "$line" | tr -s ' ' | cut -c 1-90)" inside bash -euc "$line"
  done < <(sed -e ':a' -e '/\\$/N; s/\\\n//; ta' "$ROOT/Dockerfile" | sed -n 's/^RUN //p')
  timed "what the second stage copies is there" inside ls target/bundle/bin/quotient target/bundle/bin/hash.txt target/bundle/site/pkg
}

fresh_report() {
  printf 'dev: fresh: everything passed\n' >&2
  cat "$FRESH/times"
}

fresh_cleanup() {
  if [ -n "${CHROOT:-}" ]; then
    inside ./dev down >/dev/null 2>&1 || true
    local name
    for name in proc sys dev; do umount -lR "$CHROOT/$name" 2>/dev/null || true; done
  else
    inside ./dev down >/dev/null 2>&1 || true
    rm -rf "${TMPDIR:-/tmp}/quotient-$(printf '%s' "$FRESH/src" | cksum | cut -d ' ' -f 1)"
  fi
  # Kept after a failure, so that the log can be read.
  if grep -q . "$FRESH/times" 2>/dev/null && [ -z "${FRESH_FAILED:-}" ]; then rm -rf "$FRESH"; fi
}
