// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lists of node names in Slurm's short form: `node[001-003,12]` is node001, node002, node003 and node12.
//!
//! [`parse`] gives the names as `scontrol show hostnames` does: in the order written, duplicates kept, the last of several
//! brackets varying fastest. It also takes what Slurm refuses and SCR took, text after the last bracket (`n[1-3]-ib`).
//! [`compress`] is its inverse: the same names in the same order, in a form that Slurm understands, so it shortens numbers
//! at the end of names only. Whoever wants the shortest list sorts first, with [`compare`].
//!
//! The text may come from anybody: what it grows to is counted before anything is made of it.

pub(crate) mod command;

use scr_core::{Error, ErrorKind, Result};
use std::cmp::Ordering;
use std::fmt::Write;

/// More names than any machine has nodes: a longer list is a slip of the pen.
const MOST_NAMES: u64 = 1_000_000;

/// The longest name of a host (RFC 1035), so that many long names cannot fill the memory either.
const LONGEST_NAME: usize = 255;

/// Numbers of so many digits can be counted in 64 bits.
const MOST_DIGITS: usize = 18;

/// Slurm refuses longer ranges.
const LONGEST_RANGE: u64 = 65_536;

/// Numbers from `first` to `last`, written with at least `width` digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
    width: usize,
}

impl Range {
    fn len(self) -> u64 {
        self.last - self.first + 1
    }
}

/// A part of a name: the same in all names, or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Numbers(Vec<Range>),
}

/// Returns the names in a list, separated by commas or blanks, in its order.
///
/// # Errors
/// [`ErrorKind::Misuse`] for a bracket without its other half, a range that is none, and more than a million names.
pub(crate) fn parse(text: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for item in items(text)? {
        let parts = parts(item)?;
        let longest = parts.iter().map(longest).sum::<usize>();
        if longest > LONGEST_NAME {
            let start: String = item.chars().take(32).collect();
            return Err(wrong(&format!("the name {start}... is longer than {LONGEST_NAME} bytes")));
        }
        let count = parts.iter().map(count).try_fold(1_u64, u64::checked_mul);
        if count.is_none_or(|count| count > MOST_NAMES - names.len() as u64) {
            return Err(wrong(&format!("{item:?} makes it more than {MOST_NAMES} names")));
        }
        expand(&mut String::new(), &parts, &mut names);
    }
    Ok(names)
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::Misuse, format!("not a list of nodes: {what}"))
}

/// Cuts a list at the separators that stand outside of brackets.
fn items(text: &str) -> Result<Vec<&str>> {
    let (mut items, mut start, mut open) = (Vec::new(), 0, None);
    for (at, c) in text.char_indices() {
        match (c, open) {
            ('[', None) => open = Some(at),
            ('[', Some(_)) => {
                return Err(wrong(&format!("a bracket within a bracket in {text:?}")));
            }
            (']', None) => return Err(wrong(&format!("] without [ in {text:?}"))),
            (']', Some(_)) => open = None,
            (c, None) if c == ',' || c.is_whitespace() => {
                items.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    if open.is_some() {
        return Err(wrong(&format!("[ without ] in {text:?}")));
    }
    items.push(&text[start..]);
    items.retain(|item| !item.is_empty());
    Ok(items)
}

/// Takes one item apart; its brackets are known to be in pairs.
fn parts(item: &str) -> Result<Vec<Part<'_>>> {
    let (mut parts, mut rest) = (Vec::new(), item);
    while let Some((before, after)) = rest.split_once('[') {
        let (inside, after) = after.split_once(']').unwrap_or((after, ""));
        parts.push(Part::Text(before));
        let ranges = inside.split(',').map(|one| range(one.trim(), item));
        parts.push(Part::Numbers(ranges.collect::<Result<_>>()?));
        rest = after;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

/// Reads `7`, `007` or `007-012`; the width is that of the first number, as in Slurm.
fn range(text: &str, item: &str) -> Result<Range> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_short = digits.len() <= MOST_DIGITS;
        digits.parse::<u64>().ok().filter(|_| is_number && is_short).ok_or_else(|| {
            let why = if is_number { "too long for a number" } else { "not a number or a range" };
            wrong(&format!("{text:?} in {item:?} is {why}"))
        })
    };
    let range = Range { first: number(first)?, last: number(last)?, width: first.len() };
    if range.first > range.last {
        return Err(wrong(&format!("the range {text:?} in {item:?} runs backwards")));
    }
    Ok(range)
}

/// How many values a part has.
fn count(part: &Part<'_>) -> u64 {
    match part {
        Part::Text(_) => 1,
        // At most so many as the text has characters, each below 10^18: a sum that saturates is too many all the same.
        Part::Numbers(ranges) => ranges.iter().fold(0, |sum, one| sum.saturating_add(one.len())),
    }
}

/// The bytes of its longest value.
fn longest(part: &Part<'_>) -> usize {
    match part {
        Part::Text(text) => text.len(),
        Part::Numbers(ranges) => {
            let digits = |one: &Range| one.width.max(one.last.to_string().len());
            ranges.iter().map(digits).max().unwrap_or(0)
        }
    }
}

/// Appends all names that begin with `start` and go on with `parts`.
fn expand(start: &mut String, parts: &[Part<'_>], names: &mut Vec<String>) {
    let Some((part, rest)) = parts.split_first() else {
        names.push(start.clone());
        return;
    };
    let end = start.len();
    match part {
        Part::Text(text) => {
            start.push_str(text);
            expand(start, rest, names);
        }
        Part::Numbers(ranges) => {
            for range in ranges {
                for number in range.first..=range.last {
                    // Writing to a string cannot fail.
                    let _ = write!(start, "{number:0width$}", width = range.width);
                    expand(start, rest, names);
                    start.truncate(end);
                }
            }
        }
    }
    start.truncate(end);
}

/// A name as what it begins with and the number at its end.
fn split(name: &str) -> (&str, &str) {
    let digits = name.bytes().rev().take(MOST_DIGITS).take_while(u8::is_ascii_digit).count();
    name.split_at(name.len() - digits)
}

/// Returns the short form of a list of names, in its order.
///
/// Names with brackets, commas or blanks in them would not be read back; no node has such a name.
pub(crate) fn compress<S: AsRef<str>>(names: &[S]) -> String {
    let mut names = names.iter().map(|name| split(name.as_ref())).peekable();
    let mut text = String::new();
    while let Some((prefix, digits)) = names.next() {
        let mut ranges = Vec::new();
        let mut run = run_of(digits);
        while let (Some(last), Some(&(_, next))) =
            (run, names.peek().filter(|(other, digits)| *other == prefix && !digits.is_empty()))
        {
            names.next();
            run = run_of(next);
            let longer = run.filter(|one| continues(last, next, one.first));
            if longer.is_some() {
                run = Some(Range { last: last.last + 1, ..last });
            } else {
                ranges.push(last);
            }
        }
        ranges.extend(run);
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(prefix);
        write_ranges(&mut text, &ranges);
    }
    text
}

/// The range of one number; none where the name has no number.
fn run_of(digits: &str) -> Option<Range> {
    let first = digits.parse().ok()?;
    Some(Range { first, last: first, width: digits.len() })
}

/// Whether the number written `digits` is what comes after `range`, written the same way.
fn continues(range: Range, digits: &str, number: u64) -> bool {
    let length = (number.checked_ilog10().unwrap_or(0) + 1) as usize;
    number == range.last + 1
        && digits.len() == length.max(range.width)
        && range.len() < LONGEST_RANGE
}

fn write_ranges(text: &mut String, ranges: &[Range]) {
    let is_single = ranges.len() == 1 && ranges[0].len() == 1;
    for (index, &Range { first, last, width }) in ranges.iter().enumerate() {
        let separator = if is_single {
            ""
        } else if index == 0 {
            "["
        } else {
            ","
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{first:0width$}");
        if last > first {
            let _ = write!(text, "-{last:0width$}");
        }
    }
    if !ranges.is_empty() && !is_single {
        text.push(']');
    }
}

/// Orders names as people do, `node2` before `node10`, so that a sorted list is short when compressed.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let ((prefix_a, digits_a), (prefix_b, digits_b)) = (split(a), split(b));
    let number = |digits: &str| digits.parse::<u64>().ok();
    // Equal numbers of other widths are other names.
    prefix_a
        .cmp(prefix_b)
        .then_with(|| number(digits_a).cmp(&number(digits_b)))
        .then_with(|| digits_a.len().cmp(&digits_b.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_come_as_slurm_gives_them() {
        // Compared with `scontrol show hostnames` of Slurm 22.05, but for the last three, which it refuses.
        let cases = [
            ("", ""),
            ("login", "login"),
            ("node[001-003,12]", "node001 node002 node003 node12"),
            ("node[08-11]", "node08 node09 node10 node11"),
            ("n[98-102]", "n98 n99 n100 n101 n102"),
            ("n[3,1-2]", "n3 n1 n2"),
            ("n[1-03]", "n1 n2 n3"),
            ("n[0,00,000]", "n0 n00 n000"),
            ("rack[0-1]n[1-3]", "rack0n1 rack0n2 rack0n3 rack1n1 rack1n2 rack1n3"),
            ("a[1-2],b[3-4],x,a1", "a1 a2 b3 b4 x a1"),
            (" a1, a2\ta3\n", "a1 a2 a3"),
            ("a,,b,", "a b"),
            ("[1-3]", "1 2 3"),
            ("n1-ib,n2-ib", "n1-ib n2-ib"),
            ("n[1-2]-ib", "n1-ib n2-ib"),
            ("n[1-2].cluster,m", "n1.cluster n2.cluster m"),
            ("r[1, 2]c[0-1]x", "r1c0x r1c1x r2c0x r2c1x"),
        ];
        for (text, expected) in cases {
            let expected: Vec<&str> = expected.split_whitespace().collect();
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_with_the_reason() {
        let cases = [
            ("n[1-3", "[ without ]"),
            ("n1-3]", "] without ["),
            ("n[1-[2]]", "within a bracket"),
            ("n[3-1]", "runs backwards"),
            ("n[]", "not a number or a range"),
            ("n[1,,2]", "not a number or a range"),
            ("n[a]", "not a number or a range"),
            ("n[+1]", "not a number or a range"),
            ("n[1-2-3]", "not a number or a range"),
            ("n[0-9:2]", "not a number or a range"),
            ("n[1234567890123456789]", "too long for a number"),
            ("n[1-1000001]", "more than 1000000 names"),
            ("m,n[1-1000000]", "more than 1000000 names"),
            ("n[0-999]x[0-999]y[0-1]", "more than 1000000 names"),
            ("n[0-999999999999999999]x[0-999999999999999999]", "more than 1000000 names"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misuse, "{text}");
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
        let long = format!("{}[1-10]", "n".repeat(254));
        assert!(parse(&long).unwrap_err().to_string().contains("longer than 255 bytes"));
        assert_eq!(parse(&long.replace("10", "9")).unwrap().len(), 9);
    }

    #[test]
    fn the_short_form_is_that_of_slurm() {
        // Compared with `scontrol show hostlist` of Slurm 22.05.
        let cases = [
            ("", ""),
            ("n1", "n1"),
            ("n1 n2 n3 n5", "n[1-3,5]"),
            ("n3 n1 n2", "n[3,1-2]"),
            ("n001 n002 n3", "n[001-002,3]"),
            ("n9 n10 n11", "n[9-11]"),
            ("n09 n10", "n[09-10]"),
            ("n9 n010", "n[9,010]"),
            ("n99 n100", "n[99-100]"),
            ("n099 n100", "n[099-100]"),
            ("n0 n00 n000", "n[0,00,000]"),
            ("n1 n1", "n[1,1]"),
            ("n1 n02 n3", "n[1,02,3]"),
            ("n1 m1 n2", "n1,m1,n2"),
            ("n n1 n2 n", "n,n[1-2],n"),
            ("login n1 n2", "login,n[1-2]"),
            ("n1-ib n2-ib", "n1-ib,n2-ib"),
            ("r0n1 r0n2 r1n1 r1n2", "r0n[1-2],r1n[1-2]"),
            ("1 2 3", "[1-3]"),
            // Slurm makes a wrong name of a number that is longer than it can count.
            (
                "n99999999999999999998 n99999999999999999999",
                "n99[999999999999999998-999999999999999999]",
            ),
        ];
        for (names, expected) in cases {
            let names: Vec<&str> = names.split_whitespace().collect();
            assert_eq!(compress(&names), expected, "{names:?}");
        }
    }

    #[test]
    fn ranges_are_no_longer_than_slurm_takes() {
        let names = parse("n[1-70000]").unwrap();
        assert_eq!(compress(&names), "n[1-65536,65537-70000]");
    }

    #[test]
    fn names_are_ordered_by_their_numbers() {
        let mut names = ["n10", "n2", "m3", "n", "n02", "n1-ib", "n2"];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(names, ["m3", "n", "n2", "n2", "n02", "n10", "n1-ib"]);
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            ("[a-c]{0,2}", 0_u64..30, 0_usize..4)
                .prop_map(|(p, n, width)| format!("{p}{n:0width$}")),
            "[a-c]{1,3}(-[a-c0-9]{1,3})?",
            "[a-c]?[0-9]{15,25}",
        ]
    }

    proptest! {
        #[test]
        fn what_is_compressed_is_read_back(names in prop::collection::vec(name(), 0..40)) {
            prop_assert_eq!(parse(&compress(&names)).unwrap(), names);
        }

        #[test]
        fn sorted_names_have_one_order(mut names in prop::collection::vec(name(), 0..20)) {
            names.sort_by(|a, b| compare(a, b));
            let mut again: Vec<_> = names.iter().rev().cloned().collect();
            again.sort_by(|a, b| compare(a, b));
            prop_assert_eq!(names, again);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a0-9,\\[\\]\\- ]{0,30}") {
            if let Ok(names) = parse(&text) {
                prop_assert!(names.len() as u64 <= MOST_NAMES);
            }
        }
    }
}
