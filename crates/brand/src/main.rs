//! Reads and changes `brand.toml` of the current folder, for `./dev brand` and `./dev new`.

use brand::{Brand, BrandError, FILE};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

const USAGE: &str = "usage: brand get KEY | brand set KEY=VALUE… | brand check";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.split_first().map(|(command, rest)| (command.as_str(), rest)) {
        Some(("get", [key])) => get(key),
        Some(("set", pairs)) if !pairs.is_empty() => set(pairs),
        Some(("check", [])) => Brand::read(Path::new(".")).map(|_| String::new()).map_err(|error| error.to_string()),
        _ => Err(USAGE.to_owned()),
    };
    // A closed pipe is the reader's affair.
    match done {
        Ok(text) => {
            drop(io::stdout().write_all(text.as_bytes()));
            ExitCode::SUCCESS
        }
        Err(sentence) => {
            drop(writeln!(io::stderr(), "{sentence}"));
            ExitCode::FAILURE
        }
    }
}

fn read() -> Result<String, String> {
    fs::read_to_string(FILE).map_err(|error| format!("{FILE} can't be read: {error}."))
}

/// Returns a value, followed by a line break.
fn get(key: &str) -> Result<String, String> {
    brand::value(&read()?, key).map(|value| value + "\n").map_err(|error: BrandError| error.to_string())
}

/// Writes the file with new values. Writes nothing if the result couldn't be used.
fn set(pairs: &[String]) -> Result<String, String> {
    let values: Option<Vec<(String, String)>> =
        pairs.iter().map(|pair| pair.split_once('=').map(|(key, new)| (key.to_owned(), new.to_owned()))).collect();
    let changed = brand::with_values(&read()?, &values.ok_or(USAGE)?).map_err(|error| error.to_string())?;
    Brand::parse(Path::new("."), &changed).map_err(|error| error.to_string())?;
    fs::write(FILE, changed).map_err(|error| format!("{FILE} can't be written: {error}."))?;
    Ok(String::new())
}
