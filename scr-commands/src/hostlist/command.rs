// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr hostlist`: reckons with lists of nodes, for scripts.

use super::{compare, compress, parse};
use crate::exit;
use crate::output::{count, note, print, print_json};
use scr_core::{Error, ErrorKind, Result};
use serde_json::json;
use std::collections::HashSet;

/// Options of `scr hostlist`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr hostlist n1,n2,n3,n5                     n[1-3,5]
  scr hostlist --expand 'n[1-3]'               n1,n2,n3
  scr hostlist --expand -d '\\n' 'n[1-3]'       one name a line
  scr hostlist --minus 'n[1-6]' n3,n5          n[1-2,4,6]
  scr hostlist --intersect 'n[1-6]' 'n[5-9]'   n[5-6]
  scr hostlist --union 'n[3-4]' 'n[1-3]'       n[1-4]
  scr hostlist --count \"$SLURM_JOB_NODELIST\"   how many there are
  scr hostlist --size -2 'n[1-6]'              n[5-6], the last two
  scr hostlist --nth 1 'n[1-6]'                n1

Several lists without a verb are put one after the other.

Exit status: 0 done, 1 there is no such name (--nth), 2 not a list of nodes.")]
pub(crate) struct Arguments {
    /// Take the names of the further lists away from the first
    #[arg(short, long, group = "verb")]
    minus: bool,
    /// Keep the names of the first list that all further lists have too
    #[arg(short, long, alias = "intersection", group = "verb")]
    intersect: bool,
    /// Put the lists together, sorted, each name once
    #[arg(short, long, group = "verb")]
    union: bool,
    /// Keep the first N names, or with a negative number the last
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    size: Option<i64>,
    /// Print the short form (the default)
    #[arg(short = 'C', long, group = "form")]
    compress: bool,
    /// Print all names
    #[arg(short, long, group = "form")]
    expand: bool,
    /// Print how many there are
    #[arg(short, long, group = "form")]
    count: bool,
    /// Print one name, counted from 1, or from the end with a negative number
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, group = "form")]
    nth: Option<i64>,
    /// Print all names as JSON
    #[arg(long, group = "form")]
    json: bool,
    /// What stands between names with --expand; \n and \t are understood
    #[arg(short, long, value_name = "TEXT", default_value = ",")]
    delimiter: String,
    /// Lists of nodes
    #[arg(value_name = "HOSTS", required = true)]
    lists: Vec<String>,
}

/// Prints what the lists come to.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let names = reckon(arguments)?;
    if let Some(nth) = arguments.nth {
        let Some(name) = pick(&names, nth)? else {
            note(&format!("there is no name {nth} among {}", count(names.len() as u64, "name")));
            return Ok(exit::NO);
        };
        print(&format!("{name}\n"))?;
    } else if arguments.count {
        print(&format!("{}\n", names.len()))?;
    } else if arguments.json {
        print_json(&json!(names))?;
    } else if arguments.expand {
        let delimiter = arguments.delimiter.replace("\\n", "\n").replace("\\t", "\t");
        print(&format!("{}\n", names.join(&delimiter)))?;
    } else {
        print(&format!("{}\n", compress(&names)))?;
    }
    Ok(exit::SUCCESS)
}

/// The names that remain of the lists.
fn reckon(arguments: &Arguments) -> Result<Vec<String>> {
    let mut lists =
        arguments.lists.iter().map(|text| parse(text)).collect::<Result<Vec<_>>>()?.into_iter();
    let mut names = lists.next().unwrap_or_default();
    for list in lists {
        if arguments.minus || arguments.intersect {
            let others: HashSet<String> = list.into_iter().collect();
            names.retain(|name| others.contains(name) == arguments.intersect);
        } else {
            names.extend(list);
        }
    }
    if arguments.union {
        names.sort_by(|a, b| compare(a, b));
        names.dedup();
    }
    if let Some(size) = arguments.size {
        let kept = usize::try_from(size.unsigned_abs()).unwrap_or(usize::MAX).min(names.len());
        if size < 0 {
            names.drain(..names.len() - kept);
        } else {
            names.truncate(kept);
        }
    }
    Ok(names)
}

/// The name number `nth`, counted from 1 or from the end.
fn pick(names: &[String], nth: i64) -> Result<Option<&String>> {
    if nth == 0 {
        return Err(Error::new(ErrorKind::Misuse, "--nth counts from 1, or from the end with -1"));
    }
    let distance = usize::try_from(nth.unsigned_abs()).unwrap_or(usize::MAX);
    let at = if nth > 0 { Some(distance - 1) } else { names.len().checked_sub(distance) };
    Ok(at.and_then(|at| names.get(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Hostlist {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn reckoned(line: &str) -> String {
        let words = std::iter::once("hostlist").chain(line.split_whitespace());
        compress(&reckon(&Hostlist::try_parse_from(words).unwrap().arguments).unwrap())
    }

    #[test]
    fn lists_are_reckoned_with() {
        let cases = [
            ("n1,n2 n3", "n[1-3]"),
            ("n2 n1,n2", "n[2,1-2]"),
            ("--minus n[1-6] n3 n[5,7]", "n[1-2,4,6]"),
            ("--minus n[1-2] n[1-2]", ""),
            ("--intersect n[1-6] n[3-7] n[5,3]", "n[3,5]"),
            ("--intersection n[1-6] m1", ""),
            ("--union n[9-10] n[1-9] m2", "m2,n[1-10]"),
            ("--size 2 n[1-6]", "n[1-2]"),
            ("--size -2 n[1-6]", "n[5-6]"),
            ("--size 9 n[1-6]", "n[1-6]"),
            ("--size 0 n[1-6]", ""),
            ("--minus --size -1 n[1-6] n6", "n5"),
        ];
        for (line, expected) in cases {
            assert_eq!(reckoned(line), expected, "{line}");
        }
    }

    #[test]
    fn names_are_counted_from_both_ends() {
        let names = parse("n[1-3]").unwrap();
        let cases = [(1, Some("n1")), (3, Some("n3")), (4, None), (-1, Some("n3")), (-4, None)];
        for (nth, expected) in cases {
            assert_eq!(pick(&names, nth).unwrap().map(String::as_str), expected, "{nth}");
        }
        assert!(pick(&names, 0).is_err());
    }
}
