# shellcheck shell=bash
# Serving a checkout.

# at_exit COMMAND: runs a command when the script ends; several are run in order.
AT_EXIT=''
at_exit() { AT_EXIT+="$1 || true; "; trap 'eval "$AT_EXIT"' EXIT; }

# The port that LISTEN_ADDR names.
port() { local addr=${LISTEN_ADDR:-127.0.0.1:3000}; echo "${addr##*:}"; }

# Without a key a Stripe simulator sells the plans: no money moves. It keeps its state in .dev/stripe.json.
simulate_stripe() {
  [ -z "${STRIPE_SECRET_KEY:-}" ] || return 0
  local port; port=$(free_port stripe)
  target/debug/fakes stripe "127.0.0.1:$port" "http://127.0.0.1:$(port)/stripe/webhook" "$DEV/stripe.json" >"$DEV/stripe.log" 2>&1 &
  at_exit "kill $! 2>/dev/null"
  wait_for_port "$port" stripe
  export STRIPE_SECRET_KEY=sk_test_fake STRIPE_WEBHOOK_SECRET=whsec_fake STRIPE_BASE_URL=http://127.0.0.1:$port
  target/debug/quotient plans push >"$DEV/stripe.log" || die "the plans can't be pushed (see .dev/stripe.log)"
}

# Runs a command until it ends or this script is told to end, and passes the signal on.
serve() {
  "$@" &
  local child=$!
  trap 'kill -TERM '$child' 2>/dev/null || true' INT TERM
  wait $child || true
  wait $child
}

development_settings() {
  port_answers "$(port)" && die "port $(port) is in use; stop what listens there, or set LISTEN_ADDR=127.0.0.1:3001"
  export PUBLIC_URL=${PUBLIC_URL:-http://127.0.0.1:$(port)} ADMIN_EMAILS=${ADMIN_EMAILS:-admin@example.com}
}

cmd_up() {
  development_settings
  databases
  check_schema
  build
  # A copy: a later build, test or release changes nothing under a server that runs.
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
  # In a folder of its own. Names by content are for releases.
  SITE_ROOT=target/watch-site LEPTOS_SITE_ROOT=target/watch-site LEPTOS_HASH_FILES=false serve cargo leptos watch
}

cmd_seed() {
  databases; check_schema; need_toolchain
  step "the server" cargo build -q --bin quotient
  step "a demo company" target/debug/quotient seed "$@"
}
