//! Builds the server again when a text is added to `content/` or removed from it: the texts are part of the program.

fn main() {
    println!("cargo::rerun-if-changed=../content");
}
