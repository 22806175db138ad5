//! Gates that every shared library passes: what it exports, and how its segments lie in pages.

use std::{collections::BTreeSet, fs, path::Path};

use object::{Object, ObjectSegment, ObjectSymbol};

use super::abi;
use crate::shell::Result;

/// Bytes of the pages that libraries for Android, and for AArch64, are loaded into.
pub(crate) const PAGE: u64 = 1 << 14;

/// What a library has to fulfil.
pub(super) struct Gates<'a> {
    /// Each exported name begins with one of these, and each of these begins one.
    pub(super) prefixes: &'a [&'a str],
    /// All that are exported of `ff_*`.
    pub(super) functions: &'a BTreeSet<String>,
    /// Bytes that segments are aligned to, at least.
    pub(super) page: u64,
}

/// The names that a shared library exports, in order; an error where it does not pass.
pub(super) fn exports(library: &Path, gates: &Gates<'_>) -> Result<Vec<String>> {
    let shown = library.display();
    let bytes = fs::read(library).map_err(|e| format!("{shown}: {e}"))?;
    let file = object::File::parse(&*bytes).map_err(|e| format!("{shown}: {e}"))?;
    let global = file.dynamic_symbols().filter(|symbol| symbol.is_definition() && symbol.is_global());
    let mut names: Vec<String> = global.filter_map(|symbol| symbol.name().ok().map(str::to_owned)).collect();
    names.sort();
    let aligned: Vec<(u64, u64, u64)> =
        file.segments().map(|segment| (segment.align(), segment.address(), segment.file_range().0)).collect();
    let mut faults = symbol_faults(&names, gates);
    faults.extend(page_faults(&aligned, gates.page));
    println!("{shown}: {} symbols, {} segments aligned to {} bytes or more", names.len(), aligned.len(), gates.page);
    if faults.is_empty() { Ok(names) } else { Err(format!("{shown}: {}", faults.join("; "))) }
}

fn symbol_faults(names: &[String], gates: &Gates<'_>) -> Vec<String> {
    let prefixes = gates.prefixes;
    let mut faults = Vec::new();
    let others: Vec<&String> = names.iter().filter(|name| !prefixes.iter().any(|p| name.starts_with(p))).collect();
    if !others.is_empty() {
        faults.push(format!("exported, but none of ours: {others:?}"));
    }
    for prefix in prefixes.iter().filter(|p| !names.iter().any(|name| name.starts_with(**p))) {
        faults.push(format!("nothing that begins with {prefix} is exported"));
    }
    let ours = names.iter().filter(|name| name.starts_with("ff_")).cloned().collect();
    faults.extend(abi::compare(&ours, gates.functions));
    faults
}

/// Segments (alignment, address, place in the file) that a kernel with such pages cannot map.
fn page_faults(segments: &[(u64, u64, u64)], page: u64) -> Vec<String> {
    let mut faults = Vec::new();
    if segments.is_empty() {
        faults.push("nothing is loaded".to_owned());
    }
    for (align, address, place) in segments {
        if *align < page || address % page != place % page {
            faults.push(format!("a segment at {address:#x} is aligned to {align} bytes, pages have {page}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Gates, PAGE, page_faults, symbol_faults};

    #[test]
    fn pages() {
        assert!(
            page_faults(&[(PAGE, 0, 0), (PAGE, 0x1c000 + 0x7f0, 0x18000 + 0x7f0), (4 * PAGE, 0x40000, 0)], PAGE)
                .is_empty()
        );
        assert_eq!(page_faults(&[], PAGE).len(), 1);
        assert_eq!(page_faults(&[(0x1000, 0, 0)], PAGE).len(), 1);
        assert_eq!(page_faults(&[(PAGE, 0x1000, 0)], PAGE).len(), 1);
    }

    #[test]
    fn symbols() {
        let functions = BTreeSet::from(["ff_a".to_owned(), "ff_b".to_owned()]);
        let faults = |names: &[&str], prefixes: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            symbol_faults(&names, &Gates { prefixes, functions: &functions, page: PAGE }).len()
        };
        assert_eq!(faults(&["ff_a", "ff_b"], &["ff_"]), 0);
        assert_eq!(faults(&["Java_x", "ff_a", "ff_b"], &["ff_", "Java_"]), 0);
        assert_eq!(faults(&["ff_a", "ff_b", "rust_eh_personality"], &["ff_"]), 1);
        assert_eq!(faults(&["ff_a", "ff_b"], &["ff_", "Java_"]), 1);
        assert_eq!(faults(&["ff_a"], &["ff_"]), 1);
        assert_eq!(faults(&["ff_a", "ff_b", "ff_c"], &["ff_"]), 1);
    }
}
