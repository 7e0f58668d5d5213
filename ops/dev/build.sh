# shellcheck shell=bash
# Development builds of the frontend and the server, and of the query files.

# Prints style/main.css with each import replaced by its file in its layer, as cargo-leptos bundles them. If the browser followed the imports,
# every page would make a request for each.
bundle_styles() {
  local line import='^@import "(.*)" layer\((.*)\);$'
  while IFS= read -r line; do
    if [[ $line =~ $import ]]; then
      printf '@layer %s {\n' "${BASH_REMATCH[2]}"
      cat "style/${BASH_REMATCH[1]}" || return
      printf '}\n'
    else
      printf '%s\n' "$line"
    fi
  done <style/main.css
}

build_site() {
  local front=${FRONT_TARGET_DIR:-target/front} pkg=target/site/pkg
  local built=$front/$WASM/wasm-dev/frontend.wasm
  # `step` checks the exit status, which disables `set -e` in here, so failures return explicitly.
  CARGO_TARGET_DIR=$front cargo build -q -p frontend --target "$WASM" --profile wasm-dev || return
  if [ ! "$pkg/quotient.wasm" -nt "$built" ]; then
    wasm-bindgen --target web --no-typescript --out-dir "$pkg" --out-name quotient "$built" || return
    mv "$pkg/quotient_bg.wasm" "$pkg/quotient.wasm"
  fi
  cp -r public/. target/site/
  bundle_styles >"$pkg/quotient.css"
}

# build_programs [FLAGS…]: a development build of all programs, or of those that the flags name. With `--examples`, cargo resolves the features of
# dependencies as it does for tests (tokio's `test-util` among them); without, half of the dependencies would be compiled twice.
build_programs() {
  [ $# -gt 0 ] || set -- --bins
  cargo build -q --examples "$@"
}

# build [FLAGS…]: builds the frontend and the server; the flags are passed to cargo for the server.
build() {
  need_toolchain
  need_wasm_bindgen
  step "the browser's side" build_site
  step "the server" build_programs "$@"
}

# prepare DIRECTORY: writes the sqlx query files for the current migrations to a directory.
prepare() {
  local out=$1 name=quotient_prepare base
  base=$(owner_url)
  base=${base%/*}
  psql -q "$base/postgres" -c "drop database if exists $name" -c "create database $name" 2>/dev/null || psql -q "$(owner_url)" -c "drop database if exists $name" -c "create database $name"
  local file
  for file in migrations/*.sql; do psql -q -1 -v ON_ERROR_STOP=1 "$base/$name" -f "$file" >/dev/null || return; done
  rm -rf "$out" && mkdir -p "$out"
  # The sqlx macros write the files when they expand, so the crate must be compiled again.
  rm -rf target/prepare/debug/.fingerprint/store-*
  SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$out DATABASE_URL=$base/$name CARGO_TARGET_DIR=target/prepare cargo check -q -p store || return
  psql -q "$base/postgres" -c "drop database if exists $name"
}

cmd_prepare() { need_postgres; need_psql; need_toolchain; step "query files" prepare "$ROOT/crates/store/.sqlx"; }

check_prepared() {
  prepare "$DEV/sqlx" || return
  diff -rq "$DEV/sqlx" crates/store/.sqlx >&2 || die "crates/store/.sqlx is stale; run ./dev prepare and commit it"
}
