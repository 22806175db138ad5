//! Names of roles in names of files, and paths of targets in URLs.

use alloc::{format, string::String, vec::Vec};

use crate::limits::MAX_PATH_LEN;

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

/// Whether `path` may be the path of a target: segments that are neither empty nor `.` nor `..`, without control characters and
/// backslashes. So it stays below its folder, in a URL and in a file system.
#[must_use]
pub fn valid_target_path(path: &str) -> bool {
    let plain = |c: char| !c.is_control() && c != '\\';
    path.len() <= MAX_PATH_LEN
        && path.split('/').all(|segment| !matches!(segment, "" | "." | "..") && segment.chars().all(plain))
}

/// The path of a target as part of a URL: percent-encoded but for `A-Z a-z 0-9 _ . - ~ + /`.
#[must_use]
pub fn url_path(path: &str) -> String {
    let parts = path.split_inclusive(['/', '+']);
    parts.fold(String::new(), |quoted, part| {
        let name = part.trim_end_matches(['/', '+']);
        quoted + &quote(name) + &part[name.len()..]
    })
}

/// Whether `path` fits a pattern of a delegation. Within one segment `*` is any text, `?` any character, `[abc]`, `[a-c]` and `[!a-c]`
/// are one character that is or is not among those; `[` without `]` is itself.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut segments) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return true,
            (Some(pattern), Some(segment)) if fits(&tokens(pattern), segment) => {}
            _ => return false,
        }
    }
}

enum Token {
    Star,
    Any,
    Char(char),
    /// Ranges, both ends included, and whether the character must not be in one.
    OneOf(Vec<(char, char)>, bool),
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => true,
            Self::Char(own) => *own == c,
            Self::OneOf(ranges, not) => ranges.iter().any(|&(from, to)| (from..=to).contains(&c)) != *not,
        }
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '[' => match one_of(rest) {
                Some((token, after)) => {
                    rest = after;
                    token
                }
                None => Token::Char('['),
            },
            c => Token::Char(c),
        });
    }
    tokens
}

/// What follows `[`: the set up to `]`, which stands for itself where it comes first, and the text behind it.
fn one_of(text: &str) -> Option<(Token, &str)> {
    let (not, set) = text.strip_prefix('!').map_or((false, text), |set| (true, set));
    let first = set.chars().next()?.len_utf8();
    let end = first + set[first..].find(']')?;
    let chars: Vec<char> = set[..end].chars().collect();
    let (mut ranges, mut at) = (Vec::new(), 0);
    while let Some(&from) = chars.get(at) {
        let to = chars.get(at + 2).filter(|_| chars.get(at + 1) == Some(&'-')).copied();
        at += if to.is_some() { 3 } else { 1 };
        ranges.push((from, to.unwrap_or(from)));
    }
    Some((Token::OneOf(ranges, not), &set[end + 1..]))
}

/// Goes back to the last star only, so that the time is bounded by the product of the lengths.
fn fits(pattern: &[Token], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(Token::Star) => {
                star = Some((p, t));
                p += 1;
            }
            Some(token) if token.takes(text[t]) => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|token| matches!(token, Token::Star))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        assert_eq!(quote("releases-kws"), "releases-kws");
        assert_eq!(quote("../a b/é"), "..%2Fa%20b%2F%C3%A9");
        assert_eq!(versioned(7, "targets"), "7.targets.json");
        for good in ["a", "models/kws/1.2.0+x/kws-1.2.0.ff", "a b", "a?b", "a%2fb", "..a", "\u{e9}"] {
            assert!(valid_target_path(good), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "a/../b", ".", "a\\b", "a\nb", &"a".repeat(1025)] {
            assert!(!valid_target_path(bad), "{bad}");
        }
        assert_eq!(url_path("models/kws/1.2.0+x/kws-1.2.0+x.ff"), "models/kws/1.2.0+x/kws-1.2.0+x.ff");
        assert_eq!(url_path("a b/++\u{e9}?#%/c"), "a%20b/++%C3%A9%3F%23%25/c");
    }

    #[test]
    fn patterns() {
        let check =
            |pattern: &str, path: &str, expected| assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
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
        check("a?c", "a\u{e9}c", true);
        check("[a-c]x", "bx", true);
        check("[a-c]x", "dx", false);
        check("[!a-c]x", "dx", true);
        check("[!a-c]x", "bx", false);
        check("*[.]ff", "kws.ff", true);
        check("[]]", "]", true);
        check("[a-]", "-", true);
        check("[ab", "[ab", true);
        check("[ab", "a", false);
        check("[!]", "[!]", true);
        check("x[a/b]", "xa", false);
        check(&"a*".repeat(500), &"a".repeat(1000), true);
        check(&("a*".repeat(500) + "b"), &"a".repeat(1000), false);
    }
}
