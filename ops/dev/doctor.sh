# shellcheck shell=bash
# Reports what is installed, missing and running. Changes nothing and prints no secrets.

DOCTOR_PROBLEMS=0

found() { printf '  ok       %-22s %s\n' "$1" "$2"; }
missing() { printf '  missing  %-22s %s\n' "$1" "$2"; DOCTOR_PROBLEMS=$((DOCTOR_PROBLEMS + 1)); }
# Reports a tool that is installed when a command needs it.
later() { printf '  later    %-22s %s\n' "$1" "$2"; }

# tool NAME FOUND WANTED COMMAND: compares a version with the pinned one, which COMMAND installs.
tool() {
  if [ -z "$2" ]; then later "$1" "not installed; $4 installs $3"
  elif [ "$2" = "$3" ]; then found "$1" "$2"
  else later "$1" "$2; $4 installs $3"; fi
}

doctor_machine() {
  echo "Machine"
  found "system" "$(sed -n "s/^PRETTY_NAME=\"\(.*\)\"/\1/p" /etc/os-release 2>/dev/null), $(uname -m), $(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo 2>/dev/null)"
  local free; free=$(df -Pk . | awk 'NR == 2 { printf "%d", $4 / 1048576 }')
  if [ "$free" -ge 15 ]; then found "disk" "$free GiB free here"; else missing "disk" "$free GiB free here; a full build takes about 15"; fi
  found "commit" "$(git log -1 --format='%h %cs' 2>/dev/null || echo 'no git history')$([ -z "$(git status --porcelain 2>/dev/null)" ] || echo ', with uncommitted changes')"
  if can_apt; then found "packages" "apt-get can install what is missing"; else later "packages" "no apt-get with root here: install what is missing yourself"; fi
}

doctor_tools() {
  echo "Tools (pinned in ops/dev/versions.env)"
  if have rustup; then found "rustup" "$(rustup --version 2>/dev/null | awk '{ print $2 }')"; else missing "rustup" "https://rustup.rs"; fi
  local installed; installed=$(rust_version)
  if [ "$installed" = "$RUST" ]; then found "Rust" "$installed"
  elif [ -z "$installed" ] || is_older "$installed" "$RUST"; then missing "Rust" "${installed:-none}; $RUST is pinned: rustup update"
  else found "Rust" "$installed, newer than the pinned $RUST"; fi
  if has_wasm; then found "wasm32 target" "installed"; else later "wasm32 target" "./dev up adds it"; fi
  if have cc; then found "C compiler" "$(cc --version | head -n 1)"; else later "C compiler" "./dev up installs it"; fi
  if have mold || have ld.lld; then found "fast linker" "$(command -v mold || command -v ld.lld)"; else later "fast linker" "./dev up installs mold"; fi
  tool "wasm-bindgen" "$(wasm-bindgen --version 2>/dev/null | awk '{ print $2 }')" "$WASM_BINDGEN" "./dev up"
  tool "cargo-leptos" "$(cargo leptos --version 2>/dev/null | awk '{ print $2 }')" "$CARGO_LEPTOS" "./dev release"
  tool "cargo-deny" "$(cargo deny --version 2>/dev/null | awk '{ print $2 }')" "$CARGO_DENY" "./dev check"
  if have node; then found "Node" "$(node --version)"; else later "Node" "./dev test installs it"; fi
  if have chromium || have chromium-browser || have google-chrome; then found "Chromium" "$( (chromium --version || chromium-browser --version || google-chrome --version) 2>/dev/null)"; else later "Chromium" "./dev test installs it"; fi
}

doctor_databases() {
  echo "Databases and ports"
  local bin
  if [ -n "${DATABASE_URL:-}" ]; then
    if have psql && psql -XAtq "$DATABASE_URL" -c 'select 1' >/dev/null 2>&1; then found "Postgres" "answers at DATABASE_URL"; else missing "Postgres" "DATABASE_URL is set and doesn't answer"; fi
  elif bin=$(postgres_bin); then
    found "Postgres" "$("$bin/postgres" --version)"
    if port_answers "$(free_port postgres)"; then found "private Postgres" "runs on port $(free_port postgres)"; else later "private Postgres" "stopped; ./dev up starts it on port $(free_port postgres)"; fi
  else later "Postgres" "./dev up installs it"; fi
  if [ -n "${REDIS_URL:-}" ]; then found "Redis" "REDIS_URL is set"
  elif have redis-server; then
    found "Redis" "$(redis-server --version | awk '{ print $3 }')"
    if port_answers "$(free_port redis)"; then found "private Redis" "runs on port $(free_port redis)"; else later "private Redis" "stopped; ./dev up starts it on port $(free_port redis)"; fi
  else later "Redis" "./dev up installs it"; fi
  if port_answers "$(port)"; then found "port $(port)" "in use: a server runs there"; else found "port $(port)" "free"; fi
  local set=''
  while read -r name; do [ -z "${!name:-}" ] || set+=" $name"; done < <(sed -n 's/^#\{0,1\} *\([A-Z][A-Z0-9_]*\)=.*/\1/p' .env.example | sort -u)
  found "settings" "${set:- none set}"
}

cmd_doctor() {
  doctor_machine
  doctor_tools
  doctor_databases
  if [ $DOCTOR_PROBLEMS = 0 ]; then echo "Nothing is missing, apart from what ./dev installs itself."; else die "missing requirements: $DOCTOR_PROBLEMS"; fi
}
