//! Checks that no module imports another one that imports it back, directly or not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Module = Vec<String>;

/// Reads all modules of a crate by their path within it; the root is empty.
fn modules(src: &Path) -> BTreeMap<Module, String> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![src.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let relative = path.strip_prefix(src).unwrap().with_extension("");
            let mut module: Module = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            module.pop_if(|last| last == "mod" || (relative.components().count() == 1 && last == "lib"));
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
            found.insert(module, code);
        }
    }
    found
}

/// Splits `a::{b, c::{d, e}}` into `a::b`, `a::c::d` and `a::c::e`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        paths.push(format!("{prefix}{path}"));
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let (mut depth, mut item) = (0, String::new());
    for c in rest.trim_end().trim_end_matches('}').chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &std::mem::take(&mut item), paths);
                continue;
            }
            _ => {}
        }
        item.push(c);
    }
    if !item.trim().is_empty() {
        expand(&prefix, &item, paths);
    }
}

/// Lists the paths within the crate that a module names: in `use` declarations and inline. Re-exports (`pub use`) are not imports.
fn named_paths(code: &str) -> Vec<String> {
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |all, line| all + line + "\n");
    let (mut paths, mut inline) = (Vec::new(), String::new());
    let mut rest = code.as_str();
    while let Some(start) = rest.find("use ") {
        let is_import = rest[..start].chars().next_back().is_none_or(|c| c == '\n' || c == ' ');
        let is_reexport = rest[..start].ends_with("pub ") || rest[..start].ends_with(") ");
        let end = rest[start..].find(';').map_or(rest.len(), |end| start + end);
        let tree = rest[start + 4..end].replace('\n', " ");
        if is_import && !is_reexport && ["crate", "super", "self"].iter().any(|root| tree.starts_with(root)) {
            expand("", &tree, &mut paths);
        }
        inline.push_str(&rest[..start]);
        rest = &rest[end..];
    }
    inline.push_str(rest);
    for root in ["crate::", "super::"] {
        for (start, _) in inline.match_indices(root) {
            let path = inline[start..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c));
            paths.push(path.collect::<String>().trim_end_matches(':').to_owned());
        }
    }
    paths
}

/// Finds the module that a path leads to, as far as its parts are modules. Names that the root re-exports lead to where they are defined.
fn resolve(
    from: &Module,
    path: &str,
    modules: &BTreeMap<Module, String>,
    aliases: &BTreeMap<String, Module>,
) -> Module {
    let mut parts: Vec<String> = path.split("::").map(str::to_owned).collect();
    let mut at = from.clone();
    match parts.first().map(String::as_str) {
        Some("crate") => {
            parts.remove(0);
            at.clear();
            if let Some(alias) = parts.first().and_then(|name| aliases.get(name)) {
                at.clone_from(alias);
            }
        }
        Some("self") => drop(parts.remove(0)),
        _ => {}
    }
    while parts.first().is_some_and(|part| part == "super") {
        parts.remove(0);
        at.pop();
    }
    at.extend(parts);
    while !modules.contains_key(&at) {
        at.pop();
    }
    at
}

/// Names that the crate's root re-exports, with the modules that define them.
fn aliases(root: &str) -> BTreeMap<String, Module> {
    let mut aliases = BTreeMap::new();
    for tree in root.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next()) {
        let mut paths = Vec::new();
        expand("", &tree.replace('\n', " "), &mut paths);
        for path in paths {
            let mut parts: Module = path.split("::").map(str::to_owned).collect();
            let name = parts.pop().unwrap();
            aliases.insert(name, parts);
        }
    }
    aliases
}

/// Removes modules that import nothing, or only removed ones, until none is left; what remains lies on a cycle or leads to one.
fn cyclic(src: &str) -> Vec<String> {
    let modules = modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(src));
    let aliases = aliases(modules.get(&Vec::new()).map(String::as_str).unwrap_or_default());
    let mut imports: BTreeMap<&Module, BTreeSet<Module>> = modules
        .iter()
        .map(|(module, code)| {
            let targets = named_paths(code).into_iter().map(|path| resolve(module, &path, &modules, &aliases));
            (module, targets.filter(|target| target != module && !target.is_empty()).collect())
        })
        .collect();
    loop {
        let done: Vec<Module> =
            imports.iter().filter(|(_, targets)| targets.is_empty()).map(|(module, _)| (*module).clone()).collect();
        if done.is_empty() {
            break;
        }
        imports.retain(|module, _| !done.contains(module));
        imports.values_mut().for_each(|targets| targets.retain(|target| !done.contains(target)));
    }
    imports.into_iter().map(|(module, targets)| format!("{src}: {} -> {targets:?}", module.join("::"))).collect()
}

#[test]
fn tidy_modules_have_no_cycles() {
    let mut crates: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates"))
        .unwrap()
        .map(|entry| format!("crates/{}/src", entry.unwrap().file_name().to_string_lossy()))
        .collect();
    crates.extend(["app/src", "server/src", "bench/src"].map(str::to_owned));
    let cycles: Vec<String> = crates.iter().flat_map(|src| cyclic(src)).collect();
    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn cycles_are_found() {
    let mut paths = Vec::new();
    expand("", "crate::a::{b, c::{D, e::F as G}}", &mut paths);
    assert_eq!(paths, ["crate::a::b", "crate::a::c::D", "crate::a::c::e::F"]);
    let code = "use crate::a::B;\npub use c::D;\nfn f() { super::g::h(); }\n";
    assert_eq!(named_paths(code), ["crate::a::B", "super::g::h"]);
}
