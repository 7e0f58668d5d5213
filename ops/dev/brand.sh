# shellcheck shell=bash
# ./dev brand: asks for what brand.toml needs most.

# Builds the editor of brand.toml, and sets BRAND to its path.
need_brand() {
  need_toolchain
  step "the editor of brand.toml" cargo build -q -p brand || return
  BRAND=${CARGO_TARGET_DIR:-target}/debug/brand
  case $BRAND in /*) ;; *) BRAND=$ROOT/$BRAND ;; esac
}

# brand [--name NAME] [--tagline SENTENCE] [--hue 0-359] [--logo FILE] [--support EMAIL] [--company NAME] [--no-shots]: changes brand.toml.
# Without a value it asks for each and shows what is set now. A value that can't be used is explained and not written.
cmd_brand() {
  local values=() logo='' shots=1 asks=1
  while [ $# -gt 0 ]; do
    case $1 in
      --no-shots) shots=''; shift; continue ;;
      --name | --tagline | --hue | --logo | --support | --company) [ $# -ge 2 ] || die "$1 needs a value" ;;
      *) die "usage: ./dev brand [--name NAME] [--tagline SENTENCE] [--hue 0-359] [--logo FILE] [--support EMAIL] [--company NAME] [--no-shots]" ;;
    esac
    case $1 in
      --name | --tagline) values+=("${1#--}=$2") ;;
      --hue) values+=("look.hue=$2") ;;
      --support) values+=("support.email=$2") ;;
      --company) values+=("legal.company=$2") ;;
      --logo) logo=$2 ;;
    esac
    asks=''
    shift 2
  done
  need_brand
  if [ -n "$asks" ]; then ask_for_brand; fi
  if [ ${#values[@]} -gt 0 ]; then "$BRAND" set "${values[@]}" || die "nothing was written"; fi
  if [ -n "$logo" ]; then use_logo "$logo" || die "the logo was not changed"; fi
  "$BRAND" check || die "brand.toml can't be used"
  printf '· brand.toml is ready. Run ./dev up to see it; docs/make-it-yours.md describes what else you can change\n' >&2
  if [ -n "$shots" ]; then brand_shots; fi
}

ask_for_brand() {
  local file
  ask name "Name of the product"
  ask tagline "Tagline, one sentence for customers"
  ask look.hue "Hue of the accent color (29 red, 70 orange, 110 yellow, 160 green, 200 teal, 255 blue, 300 purple, 350 pink)"
  while read -r -p "Logo, a square SVG file [$("$BRAND" get logo)]: " file && [ -n "$file" ]; do
    if use_logo "$file"; then break; fi
  done
  ask support.email "Email address for support"
  ask legal.company "Company"
}

# ask KEY QUESTION: asks until the answer can be used. An empty answer keeps the value.
ask() {
  local answer
  while read -r -p "$2 [$("$BRAND" get "$1")]: " answer && [ -n "$answer" ]; do
    if "$BRAND" set "$1=$answer"; then break; fi
  done
}

# use_logo FILE: copies an SVG file over the logo, if it can be used.
use_logo() {
  local logo before
  logo=$("$BRAND" get logo) || return
  [ -f "$1" ] || { note "there is no file $1"; return 1; }
  [ ! "$1" -ef "$logo" ] || return 0
  before=$(mktemp)
  cp "$logo" "$before"
  cp "$1" "$logo"
  if "$BRAND" check; then rm "$before"; else cp "$before" "$logo"; rm "$before"; return 1; fi
}

brand_shots() {
  databases; need_browser; build
  step "screenshots" node end2end/brand.shots.mjs
}
