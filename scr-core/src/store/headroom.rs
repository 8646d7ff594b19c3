// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much memory this process may still fill: what bounds files that live in memory besides their file system's size.
//!
//! Pure parsing of what Linux says in `/proc` and `/sys/fs/cgroup`; the caller reads. What cannot be read or understood
//! bounds nothing. Page cache that the kernel would drop first (`inactive_file`) counts as free, as it does for kubelet:
//! otherwise a job that has just written a large output would seem to have no memory left.

use std::path::{Path, PathBuf};

/// Where the text of a file comes from; `None` where it cannot be read.
pub(super) type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The files of one version of control groups.
struct Controller {
    filesystem: &'static str,
    limit: &'static str,
    usage: &'static str,
    reclaimable: &'static str,
}

const V1: Controller = Controller {
    filesystem: "cgroup",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file",
};

const V2: Controller = Controller {
    filesystem: "cgroup2",
    limit: "memory.max",
    usage: "memory.current",
    reclaimable: "inactive_file",
};

/// Bytes of memory that this process may still fill, or `None` where nothing bounds it.
pub(super) fn free_memory_bytes(read: Read) -> Option<u64> {
    let memory = read(Path::new("/proc/meminfo")).unwrap_or_default();
    let available = meminfo_bytes(&memory, "MemAvailable");
    let total = meminfo_bytes(&memory, "MemTotal").unwrap_or(u64::MAX);
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let mounts = read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let limits = [V1, V2].into_iter().filter_map(|controller| {
        let (top, directory) = group_directory(&controller, &groups, &mounts)?;
        let above = directory.ancestors().take_while(|group| group.starts_with(&top));
        above.filter_map(|group| group_free_bytes(&controller, group, total, read)).min()
    });
    limits.chain(available).min()
}

/// The value of `key` in the text of `/proc/meminfo`, which counts in KiB.
fn meminfo_bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The mount point of the memory controller, and the directory of this process's group below it.
fn group_directory(
    controller: &Controller,
    groups: &str,
    mounts: &str,
) -> Option<(PathBuf, PathBuf)> {
    let group = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, names, group) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = match controller.filesystem {
            "cgroup2" => number == "0" && names.is_empty(),
            _ => names.split(',').any(|name| name == "memory"),
        };
        ours.then_some(group)
    })?;
    let (root, top) = mounts.lines().find_map(|line| memory_mount(controller, line))?;
    // Within a container the mount shows a part of the hierarchy; a group outside of it is bounded by its top.
    let below = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
    let is_below = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let directory = if is_below { Path::new(top).join(below) } else { PathBuf::from(top) };
    Some((PathBuf::from(top), directory))
}

/// Root and mount point, if this line of `/proc/self/mountinfo` mounts the memory controller.
fn memory_mount<'a>(controller: &Controller, line: &'a str) -> Option<(&'a str, &'a str)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut filesystem = filesystem.split(' ');
    let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
    let is_memory = kind == "cgroup2" || options.split(',').any(|option| option == "memory");
    let mut mount = mount.split(' ').skip(3);
    (kind == controller.filesystem && is_memory).then_some((mount.next()?, mount.next()?))
}

/// Limit less use of one group; `None` without a limit below what the machine has.
///
/// Version 1 says "none" by a huge number. What a group uses is not asked for in vain: the kernel adds it up from all
/// cores then, which takes longer than all else in Start_output.
fn group_free_bytes(
    controller: &Controller,
    group: &Path,
    total_bytes: u64,
    read: Read,
) -> Option<u64> {
    let number = |name: &str| read(&group.join(name))?.trim().parse::<u64>().ok();
    let limit = number(controller.limit).filter(|&limit| limit < total_bytes)?;
    let usage = number(controller.usage)?;
    let reclaimable = read(&group.join("memory.stat"))
        .and_then(|text| {
            text.lines().find_map(|line| {
                line.strip_prefix(controller.reclaimable)?.strip_prefix(' ')?.trim().parse().ok()
            })
        })
        .unwrap_or(0u64);
    Some(limit.saturating_sub(usage.saturating_sub(reclaimable)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\n\
                           MemAvailable:    9765625 kB\n";
    const V2_MOUNTS: &str = "25 30 0:23 / /sys rw - sysfs sysfs rw\n\
                             35 25 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
    const V1_MOUNTS: &str = "32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu\n\
                             35 31 0:32 / /cg/memory rw,relatime - cgroup cgroup rw,memory\n\
                             41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n";

    fn free(files: &[(&str, &str)]) -> Option<u64> {
        free_memory_bytes(&|path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn nothing_readable_bounds_nothing() {
        assert_eq!(free(&[]), None);
        assert_eq!(free(&[("/proc/meminfo", "MemAvailable: lots\n")]), None);
        assert_eq!(free(&[("/proc/self/cgroup", "garbage\n::\n\n")]), None);
    }

    #[test]
    fn memory_available_bounds_alone() {
        assert_eq!(free(&[("/proc/meminfo", MEMINFO)]), Some(10_000_000_000));
    }

    #[test]
    fn the_tightest_ancestor_of_version_2_bounds() {
        let base = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/job_7/step_0/task_0\n"),
            ("/proc/self/mountinfo", V2_MOUNTS),
            ("/sys/fs/cgroup/job_7/step_0/task_0/memory.max", "max\n"),
            ("/sys/fs/cgroup/job_7/step_0/task_0/memory.current", "100\n"),
            ("/sys/fs/cgroup/job_7/step_0/memory.max", "5000\n"),
            ("/sys/fs/cgroup/job_7/step_0/memory.current", "1000\n"),
            ("/sys/fs/cgroup/job_7/memory.max", "3500\n"),
            ("/sys/fs/cgroup/job_7/memory.current", "1500\n"),
        ];
        assert_eq!(free(&base), Some(2000));
        let mut cached = base.to_vec();
        cached.push((
            "/sys/fs/cgroup/job_7/memory.stat",
            "anon 5\ninactive_file 400\ninactive_file_x 9\n",
        ));
        assert_eq!(free(&cached), Some(2400));
    }

    #[test]
    fn use_above_the_limit_leaves_nothing() {
        assert_eq!(
            free(&[
                ("/proc/self/cgroup", "0::/\n"),
                ("/proc/self/mountinfo", V2_MOUNTS),
                ("/sys/fs/cgroup/memory.max", "10"),
                ("/sys/fs/cgroup/memory.current", "11"),
            ]),
            Some(0)
        );
    }

    #[test]
    fn version_1_bounds_beside_an_empty_version_2() {
        let files = [
            ("/proc/self/cgroup", "5:cpu:/x\n4:memory:/slurm/uid_1/job_2\n0::/x\n"),
            ("/proc/self/mountinfo", V1_MOUNTS),
            ("/cg/memory/slurm/uid_1/job_2/memory.limit_in_bytes", "9000"),
            ("/cg/memory/slurm/uid_1/job_2/memory.usage_in_bytes", "8000"),
            ("/cg/memory/slurm/uid_1/job_2/memory.stat", "inactive_file 1\ntotal_inactive_file 50"),
            ("/cg/memory/memory.limit_in_bytes", "9223372036854771712"),
            ("/cg/memory/memory.usage_in_bytes", "8000"),
            ("/cg/memory.limit_in_bytes", "1"),
            ("/cg/memory.usage_in_bytes", "1"),
        ];
        assert_eq!(free(&files), Some(1050));
    }

    #[test]
    fn a_container_sees_a_part_of_the_hierarchy() {
        for group in ["0::/docker/abc\n", "0::/../../elsewhere\n", "0::/\n"] {
            let files = [
                ("/proc/self/cgroup", group),
                (
                    "/proc/self/mountinfo",
                    "9 8 0:1 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
                ),
                ("/sys/fs/cgroup/memory.max", "77"),
                ("/sys/fs/cgroup/memory.current", "7"),
            ];
            assert_eq!(free(&files), Some(70), "{group}");
        }
    }
}
