//! Who else may change the content of a folder.

use std::fmt;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::Stat;
use rustix::io::Errno;

const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// The user that the kernel shows for users which this user namespace does not have.
const OVERFLOW_UID: &str = "/proc/sys/kernel/overflowuid";
const UID_MAP: &str = "/proc/self/uid_map";

/// Who may change the content of a folder, apart from root and this process's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Its owner.
    Owner(u32),
    /// The members of a group, or the users that an access control list names.
    Group(u32),
    /// Everybody.
    Everybody,
}

/// A folder in which others may change entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// The folder with those entries.
    pub folder: PathBuf,
    /// Who may do that.
    pub who: Who,
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        match self.who {
            Who::Owner(uid) => write!(f, "uid {uid} owns {folder}"),
            Who::Group(gid) => write!(f, "group {gid} may write to {folder}"),
            Who::Everybody => write!(f, "everybody may write to {folder}"),
        }
    }
}

/// What others can do to the entries of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing: only we and root can change them.
    Ours,
    /// Others may add entries.
    Sticky(Exposure),
    /// Others may do anything to them.
    Theirs(Exposure),
}

impl Reach {
    /// Who could have put something there.
    pub(crate) fn exposure(&self) -> Option<&Exposure> {
        match self {
            Self::Ours => None,
            Self::Sticky(exposure) | Self::Theirs(exposure) => Some(exposure),
        }
    }

    /// What others can do to the entries of a folder, if its parent has this reach (`None`: it is the root).
    pub(crate) fn within(
        parent: Option<&Self>,
        path: &Path,
        fd: BorrowedFd<'_>,
        stat: &Stat,
        us: &Us,
    ) -> Self {
        let exposed = |who| Exposure {
            folder: path.to_owned(),
            who,
        };
        match parent {
            Some(Self::Theirs(exposure)) => return Self::Theirs(exposure.clone()),
            Some(Self::Sticky(exposure)) if !us.owns(stat.st_uid) => return Self::Theirs(exposure.clone()),
            _ => {}
        }
        if !us.owns(stat.st_uid) {
            return Self::Theirs(exposed(Who::Owner(stat.st_uid)));
        }
        let who = if stat.st_mode & OTHERS_WRITE != 0 {
            Who::Everybody
        } else if stat.st_mode & GROUP_WRITES != 0 && (has_list(fd) || !us.is_alone_in(stat.st_gid)) {
            Who::Group(stat.st_gid)
        } else {
            return Self::Ours;
        };
        if stat.st_mode & STICKY != 0 {
            Self::Sticky(exposed(who))
        } else {
            Self::Theirs(exposed(who))
        }
    }
}

/// Whether a folder has an access control list. If so, the group bits show the mask of the list.
fn has_list(fd: BorrowedFd<'_>) -> bool {
    // A descriptor that was opened only for its path has no attributes, so use the path.
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mut start = [0_u8; 4];
    let list = rustix::fs::getxattr(path, "system.posix_acl_access", &mut start);
    // The list is longer than the buffer.
    matches!(list, Ok(_) | Err(Errno::RANGE))
}

/// This process's user.
#[derive(Debug, Clone)]
pub(crate) struct Us {
    uid: u32,
    gid: u32,
    /// The user that is shown for an owner outside of this user namespace, if nobody in the namespace can be that
    /// user.
    outside: Option<u32>,
}

impl Us {
    pub(crate) fn now() -> Self {
        let outside = || {
            let overflow: u32 = fs::read_to_string(OVERFLOW_UID).ok()?.trim().parse().ok()?;
            let map = fs::read_to_string(UID_MAP).ok()?;
            (!is_mapped(&map, overflow)).then_some(overflow)
        };
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            outside: outside(),
        }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether this is root or this user.
    pub(crate) fn owns(&self, uid: u32) -> bool {
        uid == 0 || uid == self.uid || self.outside == Some(uid)
    }

    /// Whether nobody else is in a group. Many systems give each user a group of their own, and make new files
    /// writable for it.
    fn is_alone_in(&self, gid: u32) -> bool {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let group = fs::read_to_string("/etc/group").unwrap_or_default();
        self.is_alone(gid, &passwd, &group)
    }

    fn is_alone(&self, gid: u32, passwd: &str, group: &str) -> bool {
        let field = |line: &str, index: usize| line.split(':').nth(index).map(str::to_owned);
        let number = |line: &str, index: usize| field(line, index)?.parse::<u32>().ok();
        let mut known = false;
        let mut ours: Vec<String> = Vec::new();
        for line in passwd.lines() {
            let (Some(name), Some(uid)) = (field(line, 0), number(line, 2)) else {
                continue;
            };
            if self.owns(uid) {
                ours.push(name);
            } else if number(line, 3) == Some(gid) {
                return false;
            }
            known |= number(line, 3) == Some(gid);
        }
        for line in group.lines().filter(|line| number(line, 2) == Some(gid)) {
            known = true;
            let members = field(line, 3).unwrap_or_default();
            let mut members = members.split(',').filter(|name| !name.is_empty());
            if members.any(|name| !ours.iter().any(|ours| ours == name)) {
                return false;
            }
        }
        // If only another name service knows the user, the user's own group has the same number as the user.
        known || (gid == self.gid && gid == self.uid)
    }
}

/// Whether a user of this namespace has this number, according to the namespace's map.
fn is_mapped(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line
            .split_ascii_whitespace()
            .map(|word| word.parse::<u64>().unwrap_or_default());
        let (first, _outside, count) = (numbers.next(), numbers.next(), numbers.next());
        let (first, count) = (first.unwrap_or_default(), count.unwrap_or_default());
        (first..first.saturating_add(count)).contains(&u64::from(uid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(uid: u32, gid: u32) -> Us {
        Us {
            uid,
            gid,
            outside: None,
        }
    }

    #[test]
    fn a_group_without_anybody_else_is_ours() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:\nbob:x:1001:1001::/:\nout:x:5:50::/:\n";
        let group = "root:x:0:\nann:x:1000:\nteam:x:2000:ann,bob\nsolo:x:2001:ann,root\nstaff:x:50:\nempty:x:51:\nbroken\n";
        let ann = us(1000, 1000);
        for (gid, alone) in [
            (1000, true),
            (1001, false),
            (2000, false),
            (2001, true),
            // The own group of another user, and a group without members.
            (50, false),
            (51, true),
            (0, true),
            // This group is not in the files.
            (3000, false),
        ] {
            assert_eq!(ann.is_alone(gid, passwd, group), alone, "{gid}");
        }
        assert!(us(7000, 7000).is_alone(7000, passwd, group));
        assert!(!us(7000, 513).is_alone(513, passwd, group));
    }

    #[test]
    fn owners_from_outside_of_a_namespace_are_told() {
        assert!(is_mapped("         0          0 4294967295\n", 65534));
        assert!(!is_mapped("         0       1000          1\n", 65534));
        assert!(is_mapped("0 1000 1\n1 100000 65536\n", 65534));
        assert!(!is_mapped("", 0));
    }
}
