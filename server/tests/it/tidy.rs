//! Checks repository rules that the compiler doesn't enforce.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Reads all files under a folder whose names end with `ending`.
fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no {ending} files under {folder}");
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    ["app/src", "frontend/src", "server/src", "crates", "bench"]
        .iter()
        .flat_map(|folder| files(folder, ".rs"))
        .collect()
}

fn dependencies(member: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let named = manifest.get("dependencies").and_then(toml::Value::as_table);
    named.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

const SHIPPED: [&str; 13] = [
    "crates/domain",
    "crates/store",
    "crates/redis-link",
    "crates/limits",
    "crates/quota",
    "crates/relay",
    "crates/providers",
    "crates/billing",
    "crates/markdown",
    "crates/files",
    "app",
    "frontend",
    "server",
];

/// Each external system is used by one crate: only these Cargo.toml files may name these dependencies.
#[test]
fn tidy_each_external_system_has_one_crate() {
    let owners: [(&str, &[&str]); 19] = [
        ("sqlx", &["crates/store"]),
        ("redis", &["crates/redis-link"]),
        ("reqwest", &["crates/providers", "server"]),
        ("axum", &["server"]),
        ("argon2", &["server"]),
        ("lettre", &["server"]),
        ("async-stripe", &["crates/billing"]),
        ("tower-sessions", &["server"]),
        ("pulldown-cmark", &["crates/markdown"]),
        ("pulldown-latex", &["crates/markdown"]),
        ("syntect", &["crates/markdown"]),
        ("onig_sys", &["crates/markdown"]),
        ("resvg", &["server"]),
        ("image", &["crates/files"]),
        ("lopdf", &["crates/files"]),
        ("object_store", &["server"]),
        ("web-sys", &["app"]),
        ("leptos_router", &["app"]),
        ("leptos_meta", &["app"]),
    ];
    for member in SHIPPED {
        for dependency in dependencies(member) {
            for (name, allowed) in owners {
                let is_named = dependency == name || (name == "async-stripe" && dependency.starts_with(name));
                assert!(!is_named || allowed.contains(&member), "{member} names {name}");
            }
        }
    }
    for dependency in dependencies("crates/domain") {
        assert!(
            ["serde", "serde_json", "uuid", "time", "rust_decimal", "thiserror"].contains(&dependency.as_str()),
            "domain names {dependency}"
        );
    }
}

/// Crates without examples in their documentation turn doctests off, because rustdoc would compile each of them to look for some.
#[test]
fn tidy_crates_without_doctests_have_no_examples() {
    for member in SHIPPED.into_iter().chain(["bench", "crates/brand", "crates/fakes"]) {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let doctest = manifest.get("lib").and_then(|lib| lib.get("doctest")).and_then(toml::Value::as_bool);
        if doctest != Some(false) {
            continue;
        }
        for (path, text) in files(member, ".rs") {
            let is_example =
                |line: &str| ["/// ```", "//! ```"].iter().any(|start| line.trim_start().starts_with(start));
            assert!(
                !text.lines().any(is_example),
                "{} has an example, but its crate has doctest = false",
                path.display()
            );
        }
    }
}

/// Imports go in one direction: siblings never import each other, nothing imports `server`, and `limits` imports only `redis-link`.
#[test]
fn tidy_imports_go_one_way() {
    let ours = [
        "domain",
        "store",
        "redis-link",
        "limits",
        "quota",
        "relay",
        "providers",
        "billing",
        "markdown",
        "files",
        "app",
        "frontend",
        "server",
    ];
    let allowed = |member: &str| -> Vec<&str> {
        match member {
            "crates/store" | "crates/providers" | "crates/billing" | "crates/files" => vec!["domain"],
            "crates/limits" => vec!["redis-link"],
            "crates/relay" => vec!["domain", "redis-link"],
            "crates/quota" => vec!["domain", "store", "limits"],
            "app" => vec!["domain", "store", "quota", "markdown"],
            "frontend" => vec!["app"],
            "server" => {
                vec!["domain", "store", "limits", "quota", "relay", "providers", "billing", "markdown", "files", "app"]
            }
            _ => vec![],
        }
    };
    for member in SHIPPED {
        for dependency in dependencies(member).iter().filter(|dependency| ours.contains(&dependency.as_str())) {
            assert!(allowed(member).contains(&dependency.as_str()), "{member} imports {dependency}");
        }
    }
}

#[test]
fn tidy_cfg_feature_is_used_in_one_file() {
    let needle = concat!("cfg(", "feature");
    let found: Vec<_> = sources().into_iter().filter(|(_, text)| text.contains(needle)).map(|(path, _)| path).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("app/src/api/mod.rs"));
}

/// `Cargo.toml` denies unsafe code; one file has an exception.
#[test]
fn tidy_unsafe_code_is_in_one_file() {
    let needle = concat!("unsafe", "_code");
    let found: Vec<_> = sources().into_iter().filter(|(_, text)| text.contains(needle)).map(|(path, _)| path).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("crates/markdown/src/highlight.rs"));
}

#[test]
fn tidy_only_config_reads_the_environment() {
    for (path, text) in sources() {
        let reads = [concat!("env::", "var"), concat!("env::", "vars")].iter().any(|needle| text.contains(needle));
        let is_allowed = path.ends_with("server/src/config/mod.rs")
            || path.ends_with("crates/domain/build.rs")
            || path.to_string_lossy().contains("/tests/");
        assert!(
            !reads || is_allowed || path.to_string_lossy().contains("bench"),
            "{} reads the environment",
            path.display()
        );
    }
}

/// HTTP stays apart from product logic: only `server/src/http` names axum.
#[test]
fn tidy_only_http_names_axum() {
    for (path, text) in files("server/src", ".rs") {
        let is_http = path.strip_prefix(root().join("server/src")).unwrap().starts_with("http");
        assert!(is_http || !text.contains("axum::"), "{} names axum", path.display());
    }
}

/// Every page of the app has a route on the server. Without one, its URL responds with 404.
#[test]
fn tidy_every_page_has_a_route() {
    let app = fs::read_to_string(root().join("app/src/lib.rs")).unwrap();
    let routes = fs::read_to_string(root().join("server/src/http/routes.rs")).unwrap();
    let pages: Vec<&str> = app.split("path!(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        // `/chat/:conversation_id` in leptos is `/chat/{conversation_id}` in axum.
        let parts: Vec<String> = page
            .split('/')
            .map(|part| part.strip_prefix(':').map_or_else(|| part.to_owned(), |name| format!("{{{name}}}")))
            .collect();
        let path = parts.join("/");
        let has_route = routes.lines().any(|line| line.contains(&format!("\"{path}\", get(")));
        assert!(has_route, "{page} has no route in server/src/http/routes.rs");
    }
}

/// What a page says of itself, the sitemap and the pictures of links name the same pages.
#[test]
fn tidy_pages_for_everyone_are_listed() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let sitemap = read("server/src/http/site.rs") + &read("server/src/content/mod.rs");
    let pictures = read("server/src/brand_images/open_graph.rs");
    let pages = read("app/src/components/page_head.rs");
    let pages: Vec<&str> = pages
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("\"/")?.split_once("\" => ").map(|(path, _)| path))
        .collect();
    assert!(pages.len() >= 8, "{pages:?}");
    for page in pages {
        assert!(sitemap.contains(&format!("\"/{page}\"")), "/{page} isn't in the sitemap");
        let picture = page.split('/').next().filter(|name| !name.is_empty()).unwrap_or("home");
        assert!(pictures.contains(&format!("Page::new(\"{picture}\"")), "/{page} has no picture");
    }
}

/// A database that isn't up yet doesn't end a start for good, neither with compose nor with systemd, and compose's has the memory for reports.
#[test]
fn tidy_deployments_wait_for_their_database() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    assert!(read("compose.yaml").contains("pg_isready -h 127.0.0.1"), "the image's temporary server isn't meant");
    assert!(read("compose.yaml").contains("shm_size:"));
    assert!(read("ops/systemd/quotient.service").lines().any(|line| line == "StartLimitIntervalSec=0"));
}

/// A key that is limited to some endpoints reaches no others: each file with handlers of the API checks it.
#[test]
fn tidy_every_endpoint_checks_the_scope_of_keys() {
    for (path, text) in files("server/src/http/v1", ".rs") {
        let has_handler = text.contains("caller: Result<ApiCaller, Failure>");
        assert!(!has_handler || text.contains(".check_endpoint("), "{} doesn't check the scope", path.display());
    }
}

/// Files stay readable in one go: at most 400 lines each, and at most 80 per function outside tests and benchmarks.
#[test]
fn tidy_files_and_functions_are_short() {
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.to_string_lossy().contains("/tests/")) {
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() <= 400, "{} has {} lines", path.display(), lines.len());
        if path.to_string_lossy().contains("/bench/") || path.to_string_lossy().contains("/fakes/") {
            continue;
        }
        for (start, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
            let indent = &line[..line.len() - line.trim_start().len()];
            let length = lines[start..].iter().position(|line| *line == format!("{indent}}}")).unwrap_or(0) + 1;
            assert!(length <= 80, "{}:{}: a function of {length} lines", path.display(), start + 1);
        }
    }
}

fn is_function(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_modifier = |word: &&&str| word.starts_with("pub") || ["const", "async", "unsafe"].contains(*word);
    words.iter().find(|word| !is_modifier(word)).is_some_and(|word| *word == "fn")
}

/// Field note 6: every provider call of a turn is admitted, because only `turn/providers.rs` makes them and its `call` requires a permit.
#[test]
fn tidy_one_caller_of_providers() {
    for (path, text) in files("server/src", ".rs") {
        let opens =
            text.contains("providers::Provider::") || text.contains("Anthropic::new") || text.contains("OpenAi::new");
        assert!(!opens || path.ends_with("turn/providers.rs"), "{} calls a provider", path.display());
    }
    let provider = fs::read_to_string(root().join("server/src/turn/providers.rs")).unwrap();
    let provider: String = provider.split_whitespace().collect();
    assert!(provider.contains("fncall(&self,permit:&Permit,"));
}

/// Raw colors appear only in `tokens.css`, every stylesheet is imported by `main.css`, and no source writes a style attribute.
#[test]
fn tidy_styles_have_one_palette() {
    for (path, text) in files("style", ".css") {
        if !path.ends_with("tokens.css") {
            for raw in ["#fff", "rgb(", "hsl("] {
                assert!(!text.contains(raw), "{} has a raw {raw}", path.display());
            }
        }
    }
    for (path, text) in files("app/src", ".rs") {
        let has_style =
            text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(concat!(" sty", "le=")));
        assert!(!has_style || path.ends_with("markdown.rs"), "{} writes a style attribute", path.display());
    }
    let sheet = fs::read_to_string(root().join("style/main.css")).unwrap();
    for (path, _) in files("style", ".css") {
        let name = path.strip_prefix(root().join("style")).unwrap().to_string_lossy().into_owned();
        let layer = name.split(['/', '.']).next().unwrap();
        let import = format!("@import \"{name}\" layer({layer});\n");
        assert!(name == "main.css" || sheet.contains(&import), "main.css doesn't have the line {import}");
    }
}

/// Every environment variable that `server/src/config` reads is listed in `.env.example`.
#[test]
fn tidy_the_environment_is_documented() {
    let example = fs::read_to_string(root().join(".env.example")).unwrap();
    let quoted = |line: &str| -> Vec<String> { line.split('"').skip(1).step_by(2).map(str::to_owned).collect() };
    let names: Vec<String> = files("server/src/config", ".rs")
        .iter()
        .filter(|(path, _)| !path.ends_with("tests.rs"))
        .flat_map(|(_, text)| text.split("#[cfg(test)]").next().unwrap().lines())
        .flat_map(quoted)
        .filter(|name| {
            name.len() > 4
                && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
                && !name.starts_with("LEPTOS")
                && !name.starts_with("QUOTIENT")
        })
        .collect();
    assert!(names.len() > 25, "{names:?}");
    for name in &names {
        assert!(
            example.lines().any(|line| line.trim_start_matches(['#', ' ']).starts_with(&format!("{name}="))),
            "{name} isn't in .env.example"
        );
    }
}

/// Returns the numbers cited in comments such as "Field notes 1, 2 and 5 to 7:".
fn cited(text: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = Vec::new();
    for part in text.split("ield note").skip(1) {
        let part = part.trim_start_matches('s').replace("\n", " ").replace("///", " ").replace("//", " ");
        let mut is_range = false;
        for word in part.split_whitespace() {
            let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
            match (digits.parse::<u32>(), word) {
                (Ok(last), _) if is_range => numbers.extend(numbers.last().copied().unwrap_or(last) + 1..=last),
                (Ok(number), _) => numbers.push(number),
                (Err(_), "and" | "to") => {}
                _ => break,
            }
            is_range = word == "to";
            if word.ends_with([':', ')', '.', ';']) {
                break;
            }
        }
    }
    numbers
}

/// Every failure mode in `docs/failure-modes.md` that isn't open is cited by a test, and tests cite no number that isn't listed there.
#[test]
fn tidy_failure_modes_have_tests() {
    let page = fs::read_to_string(root().join("docs/failure-modes.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let (number, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
        Some((number.parse::<u32>().ok()?, rest.contains("| open: ")))
    });
    let rows: std::collections::BTreeMap<u32, bool> = rows.collect();
    assert!(rows.len() > 100 && rows.keys().copied().eq(1..=rows.len() as u32), "numbers are consecutive");
    let all = sources().into_iter().chain(files("server/tests", ".rs")).chain(files("end2end", ".mjs"));
    let mut found = std::collections::BTreeSet::new();
    for (path, text) in all.filter(|(path, _)| !path.ends_with("tidy.rs")) {
        for number in cited(&text) {
            assert!(rows.contains_key(&number), "{} cites {number}", path.display());
            // Other code may cite a failure mode too, but only tests count as proof.
            if text.contains("#[test]")
                || text.contains("#[tokio::test")
                || text.contains("proptest!")
                || path.extension().is_some_and(|ending| ending == "mjs")
            {
                found.insert(number);
            }
        }
    }
    found.extend(cited(&fs::read_to_string(root().join("server/tests/it/tidy.rs")).unwrap()));
    let missing: Vec<_> = rows.iter().filter(|(number, is_open)| !**is_open && !found.contains(number)).collect();
    assert!(missing.is_empty(), "no test cites {missing:?}");
    assert_eq!(cited("/// Field notes 1, 2 and 5 to 7: words 9"), [1, 2, 5, 6, 7]);
}

/// Every test that `docs/failure-modes.md` names exists, and each failure mode of the providers names one.
#[test]
fn tidy_failure_modes_name_existing_tests() {
    let page = fs::read_to_string(root().join("docs/failure-modes.md")).unwrap();
    let tests: String = ["server/tests", "crates", "server/src"]
        .iter()
        .flat_map(|folder| files(folder, ".rs"))
        .map(|(_, text)| text)
        .collect();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let number = cells[0].trim_start_matches("| ").parse::<u32>().unwrap_or(0);
        let names: Vec<&str> = cells.last().unwrap().split('`').skip(1).step_by(2).collect();
        for name in &names {
            assert!(tests.contains(&format!("fn {name}(")), "{number}: there is no test {name}");
        }
        assert!(!(43..=62).contains(&number) || !names.is_empty(), "{number} names no test");
    }
}
