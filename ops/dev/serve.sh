# shellcheck shell=bash
# Serves a checkout for development.

# at_exit COMMAND: registers a command to run when the script exits. Commands run in the order of registration.
AT_EXIT=''
at_exit() { AT_EXIT+="$1 || true; "; trap 'eval "$AT_EXIT"' EXIT; }

# Prints the port in LISTEN_ADDR.
port() { local addr=${LISTEN_ADDR:-127.0.0.1:3000}; echo "${addr##*:}"; }

# Starts a Stripe simulator and exports its settings, so that no money moves; one that already runs for this checkout is used. It keeps its
# state in .dev/stripe.json.
start_stripe_simulator() {
  local port; port=$(free_port stripe)
  if ! port_answers "$port"; then
    target/debug/fakes stripe "127.0.0.1:$port" "http://127.0.0.1:$(port)/stripe/webhook" "$DEV/stripe.json" >"$DEV/stripe.log" 2>&1 &
    at_exit "kill $! 2>/dev/null"
    wait_for_port "$port" stripe
  fi
  export STRIPE_SECRET_KEY=sk_test_fake STRIPE_WEBHOOK_SECRET=whsec_fake STRIPE_BASE_URL=http://127.0.0.1:$port
}

# Unless a Stripe key is set, takes the Stripe simulator and gives it the plans.
simulate_stripe() {
  [ -z "${STRIPE_SECRET_KEY:-}" ] || return 0
  start_stripe_simulator
  target/debug/quotient plans push >"$DEV/stripe.log" || die "can't push the plans to the Stripe simulator (see .dev/stripe.log)"
}

# Runs a command until it exits, and forwards INT and TERM to it as TERM.
serve() {
  "$@" &
  local child=$!
  trap 'kill -TERM '$child' 2>/dev/null || true' INT TERM
  wait $child || true
  wait $child
}

development_settings() {
  port_answers "$(port)" && die "port $(port) is in use; stop the process that listens on it, or set LISTEN_ADDR=127.0.0.1:3001"
  export PUBLIC_URL=${PUBLIC_URL:-http://127.0.0.1:$(port)} ADMIN_EMAILS=${ADMIN_EMAILS:-admin@example.com}
}

cmd_up() {
  development_settings
  databases
  check_schema
  build
  # Runs a copy, so that a later build, test or release doesn't change the files of a running server.
  rm -rf target/up && mkdir -p target/up && cp -r target/site target/up/site && cp target/debug/quotient target/up/quotient
  simulate_stripe
  printf '· serving on http://%s (Ctrl-C stops the app, ./dev down the databases)\n' "${LISTEN_ADDR:-127.0.0.1:3000}" >&2
  SITE_ROOT=${SITE_ROOT:-target/up/site} serve target/up/quotient
}

cmd_watch() {
  development_settings
  databases
  check_schema
  need_toolchain; need_wasm_bindgen; need_cargo_leptos
  step "the server and the Stripe simulator" cargo build -q
  simulate_stripe
  # Uses a separate folder. Hashed file names are only for releases.
  SITE_ROOT=target/watch-site LEPTOS_SITE_ROOT=target/watch-site LEPTOS_HASH_FILES=false serve cargo leptos watch
}

# quotient COMMAND…: runs a subcommand of the last build on the databases of this checkout. Without a Stripe key, commands that need Stripe use the
# Stripe simulator.
cmd_quotient() {
  [ $# -gt 0 ] || die "usage: ./dev quotient COMMAND…; ./dev up serves the app"
  [ -x target/debug/quotient ] || die "there is no build yet; run ./dev up first"
  databases
  export PUBLIC_URL=${PUBLIC_URL:-http://127.0.0.1:$(port)}
  case $1 in
    plans | billing) [ -n "${STRIPE_SECRET_KEY:-}" ] || start_stripe_simulator ;;
  esac
  target/debug/quotient "$@"
}

# seed [--users N] [--days N]: fills the database with a demo company, whose payers are customers of the Stripe simulator.
cmd_seed() {
  databases; check_schema; need_toolchain
  export PUBLIC_URL=${PUBLIC_URL:-http://127.0.0.1:$(port)}
  step "the server and the Stripe simulator" build_programs --bin quotient --bin fakes
  simulate_stripe
  step "a demo company" target/debug/quotient seed "$@"
}
