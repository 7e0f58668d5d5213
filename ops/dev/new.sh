# shellcheck shell=bash
# ./dev new: copies this repository into a product of its own; and the test of it.

# new [--name NAME] FOLDER: copies the files of the last commit to a new folder, with a name, secrets and a history of its own.
cmd_new() {
  local name='' folder='' usage='usage: ./dev new [--name NAME] FOLDER'
  while [ $# -gt 0 ]; do
    case $1 in
      --name) [ $# -ge 2 ] || die "$usage"; name=$2; shift ;;
      -*) die "$usage" ;;
      *) [ -z "$folder" ] || die "$usage"; folder=$1 ;;
    esac
    shift
  done
  [ -n "$folder" ] || die "$usage"
  [ ! -e "$folder" ] || die "$folder exists already; name a folder that doesn't"
  case $(realpath -m "$folder") in "$ROOT"/*) die "$folder is inside this repository; name a folder outside of it" ;; esac
  git rev-parse -q --verify HEAD >/dev/null || die "this folder has no git history to copy from"
  [ -z "$(git status --porcelain)" ] || note "only the last commit is copied: there are uncommitted changes"
  need_brand
  [ -n "$name" ] || name=$(product_name "$(basename "$folder")")
  step "$name" copy_to "$folder" "$name" || { rm -rf "$folder"; die "$folder could not be created"; }
  printf '\n%s is in %s. Next:\n  cd %s\n  ./dev brand\n  ./dev up\n' "$name" "$folder" "$folder"
}

# product_name FOLDER: prints a folder's name as the name of a product: my-product becomes My Product.
product_name() { printf '%s\n' "$1" | tr '_-' '  ' | awk '{ for (i = 1; i <= NF; i++) $i = toupper(substr($i, 1, 1)) substr($i, 2); print }'; }

copy_to() {
  local folder=$1 name=$2 identity=()
  mkdir -p "$folder" || return
  git archive --format=tar HEAD | tar -x -m -C "$folder" || return
  (cd "$folder" && "$BRAND" set "name=$name") || return
  own_secrets "$folder" || return
  git -C "$folder" init -q -b main || return
  git -C "$folder" config user.email >/dev/null || identity=(-c "user.name=$name" -c user.email=you@example.com)
  git -C "$folder" add -A && git -C "$folder" "${identity[@]}" commit -q -m "Start $name"
}

# own_secrets FOLDER: writes .env, which git ignores, with keys that no other deployment has.
own_secrets() {
  (
    umask 077
    sed -e "s/^SECRET_KEY=\$/SECRET_KEY=$(random_hex)/" -e "s/^POSTGRES_PASSWORD=\$/POSTGRES_PASSWORD=$(random_hex)/" \
      -e "s/^POSTGRES_APP_PASSWORD=\$/POSTGRES_APP_PASSWORD=$(random_hex)/" "$1/.env.example" >"$1/.env"
  )
}

random_hex() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# Tests ./dev new and ./dev brand: makes a copy, brands it, builds it, and runs the sign-up story against it. The copy is built into this
# checkout's target folder, whose dependencies are compiled already. The copy stays in a folder for temporary files until the next run, which
# compiles only what has changed.
test_copy() {
  git rev-parse -q --verify HEAD >/dev/null || { note "no git history here: the copy isn't tested"; return 0; }
  local parent copy status=0
  parent=${TMPDIR:-/tmp}/quotient-copy-$(printf '%s' "$ROOT" | cksum | cut -d ' ' -f 1)
  copy=$parent/night-owl
  rm -rf "$parent/last" && mkdir -p "$parent" || return
  if [ -d "$copy" ]; then mv "$copy" "$parent/last" || return; fi
  ./dev new "$copy" >"$DEV/copy.log" || return
  grep -q 'cd .*night-owl' "$DEV/copy.log" || { note "./dev new doesn't print the next commands"; return 1; }
  if ./dev new "$copy" >"$DEV/copy.log" 2>&1; then note "./dev new overwrites a folder"; return 1; fi
  if [ "$(git -C "$copy" rev-list --count HEAD)" != 1 ] || [ -n "$(git -C "$copy" status --porcelain)" ]; then note "the copy's history isn't fresh"; return 1; fi
  grep -qE '^SECRET_KEY=[0-9a-f]{64}$' "$copy/.env" || { note "the copy has no secret of its own"; return 1; }
  ln -s "$ROOT/end2end/node_modules" "$copy/end2end/node_modules"
  # In a subshell, because it changes the folder that the parts of ./dev work in.
  (build_copy "$copy" "$parent/last") || status=1
  if [ $status = 0 ]; then
    (cd "$copy" && node end2end/run.mjs end2end/brand.check.mjs end2end/story.test.mjs) || status=1
  fi
  rm -rf "$copy/target" "$parent/last"
  # Puts this checkout's programs back to where the copy's are.
  build_programs || status=1
  return $status
}

# build_copy COPY LAST: brands and builds a copy; LAST is the last one, if there was one. Its packages have another version than this checkout's, so
# that cargo keeps both in one target folder.
build_copy() {
  cd "$1" || return
  export CARGO_TARGET_DIR=$ROOT/target FRONT_TARGET_DIR=$ROOT/target/front
  sed -i 's/^version = .*/version = "0.0.0"/' Cargo.toml || return
  same_times "$2"
  ./dev brand --tagline "Answers for people who work at night." --hue 255 --support "hello@night-owl.example" --company "Night Owl GmbH" --no-shots || return
  same_times "$2"
  build --bin quotient --bin fakes || return
  mkdir -p target/debug && cp "$CARGO_TARGET_DIR/debug/quotient" "$CARGO_TARGET_DIR/debug/fakes" target/debug/
}

# same_times LAST: gives each file, and each folder of the same names, the time that it has in another folder. Cargo compiles what is newer than its
# last build.
same_times() {
  local path
  while IFS= read -r -d '' path; do
    if cmp -s "$path" "$1/$path"; then touch -r "$1/$path" "$path"; fi
  done < <(git ls-files -z)
  while IFS= read -r -d '' path; do
    if [ -d "$1/$path" ] && [ "$(ls -A "$path")" = "$(ls -A "$1/$path")" ]; then touch -r "$1/$path" "$path"; fi
  done < <(git ls-tree -r -d -z --name-only HEAD)
}
