# shellcheck shell=bash
# Releases: built by cargo-leptos into separate folders, packed, unpacked, and tested as production runs them.

RELEASE_SITE=target/release-site

need_release_tools() { need_toolchain; need_wasm_bindgen; need_cargo_leptos; need_wasm_opt; }

cargo_leptos_release() {
  rm -rf "$RELEASE_SITE"
  LEPTOS_SITE_ROOT=$RELEASE_SITE cargo leptos build --release --precompress >"$DEV/release.log" 2>&1 ||
    { tail -n 40 "$DEV/release.log" >&2; die "cargo-leptos failed (see .dev/release.log)"; }
}

# bundle: collects what the Dockerfile's second stage copies: the binary, the list of hashed file names, and the site.
cmd_bundle() {
  need_release_tools
  step "the release build" cargo_leptos_release
  rm -rf target/bundle && mkdir -p target/bundle/bin
  cp target/release/quotient target/release/hash.txt target/bundle/bin/
  cp -r "$RELEASE_SITE" target/bundle/site
  cp ops/systemd/quotient.service .env.example LICENSE target/bundle/
}

release_name() { printf 'quotient-%s-%s' "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" "$(uname -m)"; }

pack() { tar -C target --transform "s#^bundle#$(release_name)#" --owner=0 --group=0 --numeric-owner -czf "target/$(release_name).tar.gz" bundle; }

weight() {
  local file
  for file in "$RELEASE_SITE"/pkg/*.{wasm,js,css}.br; do
    [ -e "$file" ] && printf '  %7d bytes  %s\n' "$(stat -c %s "$file")" "$(basename "$file")"
  done
  printf '  %7d bytes  wasm and js together, brotli\n' "$(cat "$RELEASE_SITE"/pkg/*.{wasm,js}.br | wc -c)"
}

cmd_release() {
  databases; need_browser
  cmd_bundle
  step "target/$(release_name).tar.gz" pack
  weight
  step "the test provider" build_programs --bin fakes
  local where; where=$(mktemp -d)
  at_exit "rm -rf $where"
  tar -C "$where" -xzf "target/$(release_name).tar.gz"
  step "release checks and the browser story against the unpacked tarball" env QUOTIENT_RELEASE="$where/$(release_name)" \
    node end2end/run.mjs end2end/release.check.mjs end2end/story.test.mjs
}

# lighthouse [PATH…]: audits pages of a release build with Lighthouse, as on a phone, and fails if a goal is missed.
cmd_lighthouse() {
  databases; need_browser
  cmd_bundle
  step "the test provider" build_programs --bin fakes
  step "Lighthouse" env QUOTIENT_RELEASE="$ROOT/target/bundle" node end2end/lighthouse.mjs "$@"
}
