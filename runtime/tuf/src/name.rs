//! Names of roles in names of files, and paths of targets in URLs.

use alloc::{format, string::String};

/// A role's name as part of a file name: percent-encoded but for `A-Z a-z 0-9 _ . - ~`, so that no name leaves its folder.
#[must_use]
pub fn quote(role: &str) -> String {
    let mut quoted = String::new();
    for byte in role.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) {
            quoted.push(char::from(byte));
        } else {
            quoted.push_str(&format!("%{byte:02X}"));
        }
    }
    quoted
}

/// The file in which a role is stored on a device.
#[must_use]
pub fn stored(role: &str) -> String {
    format!("{}.json", quote(role))
}

/// The file of a version of a role in the repository.
#[must_use]
pub fn versioned(version: u64, role: &str) -> String {
    format!("{version}.{}.json", quote(role))
}

/// Whether `path` may be the path of a target: segments of `A-Z a-z 0-9 . _ + -`, none of them `.` or `..`. It is the same
/// text in a URL and in a file system, and it stays below its folder.
#[must_use]
pub fn valid_target_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    path.split('/').all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain))
}

/// Whether `path` fits a pattern of a delegation: `*` is any text and `?` any character within one segment.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut segments) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return true,
            (Some(pattern), Some(segment)) if fits(pattern.as_bytes(), segment.as_bytes()) => {}
            _ => return false,
        }
    }
}

/// Goes back to the last star only, so that the time is bounded by the product of the lengths.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        assert_eq!(quote("releases-kws"), "releases-kws");
        assert_eq!(quote("../a b/é"), "..%2Fa%20b%2F%C3%A9");
        assert_eq!(versioned(7, "targets"), "7.targets.json");
        for good in ["a", "models/kws/1.2.0+x/kws-1.2.0.ff"] {
            assert!(valid_target_path(good), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "a/../b", ".", "a\\b", "a b", "a%2fb", "a?b", "é"] {
            assert!(!valid_target_path(bad), "{bad}");
        }
    }

    #[test]
    fn patterns() {
        let check = |pattern, path, expected| assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        check("models/kws/*/*", "models/kws/1.0/kws-1.0.ff", true);
        check("models/kws/*/*", "models/kws/kws.ff", false);
        check("models/kws/*/*", "models/vww/1.0/kws-1.0.ff", false);
        check("models/kws/*", "models/kws/1.0/x", false);
        check("*", "a", true);
        check("*", "a/b", false);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "aXbYbZ", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("", "", true);
    }
}
