//! Users of the system.
//!
//! The C library's own look-up loads name services as shared libraries. A static shim must not do that: they belong
//! to the machine it runs on, but it was built on another one. So `/etc/passwd` is read here, and for users that are
//! not in it, the programs `getent` and `id` are asked, which know every name service.

#![expect(
    clippy::disallowed_methods,
    reason = "the shim knows no other crate that runs programs"
)]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Stdio};

use crate::sys;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A user of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: OsString,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: OsString,
    pub(crate) shell: OsString,
    /// Whether it has its group alone, and none of those that list it.
    alone: bool,
}

impl Account {
    /// Looks up `user` or `user:group`, each by name, else by number. A number that nobody has is a user or group all
    /// the same, as it is to the kernel: a user without a name has the group of its number. A user with a group has no
    /// other group, as in containers.
    ///
    /// # Errors
    /// `ENOENT` when no user or group has the name.
    pub(crate) fn find(user: &str) -> io::Result<Self> {
        let Some((user, group)) = user.split_once(':') else {
            return Self::user(user);
        };
        Ok(Self {
            gid: group_number(group)?,
            alone: true,
            ..Self::user(user)?
        })
    }

    fn user(user: &str) -> io::Result<Self> {
        let local = std::fs::read(PASSWD).unwrap_or_default();
        Self::among(&local, user)
            .or_else(|| Self::among(&ask("getent", &["passwd", user])?, user))
            .or_else(|| Self::nameless(user.parse().ok()?))
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    /// A user that only has a number.
    fn nameless(uid: u32) -> Option<Self> {
        // The kernel takes this one for "leave it as it is".
        (uid != u32::MAX).then(|| Self {
            name: uid.to_string().into(),
            uid,
            gid: uid,
            home: "/".into(),
            shell: "/bin/sh".into(),
            alone: false,
        })
    }

    /// Finds the user in a text in the format of passwd(5).
    fn among(passwd: &[u8], user: &str) -> Option<Self> {
        let accounts = || passwd.split(|&b| b == b'\n').filter_map(Self::parse);
        let by_name = accounts().find(|account| account.name == user);
        by_name.or_else(|| {
            let uid: u32 = user.parse().ok()?;
            accounts().find(|account| account.uid == uid)
        })
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&b| b == b':');
        let mut next = || fields.next();
        let text = |field: &[u8]| OsString::from_vec(field.to_vec());
        let (name, _password) = (next()?, next()?);
        let (uid, gid) = (number(next()?)?, number(next()?)?);
        let (_comment, home, shell) = (next()?, next()?, next()?);
        Some(Self {
            name: text(name),
            uid,
            gid,
            home: text(home),
            shell: match shell {
                b"" => "/bin/sh".into(),
                shell => text(shell),
            },
            alone: false,
        })
    }

    /// Whether this process is this user already. Only root can leave its groups for the one that is asked for.
    pub(crate) fn is_me(&self) -> bool {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        self.uid == uid.as_raw() && (!self.alone || (!uid.is_root() && self.gid == gid.as_raw()))
    }

    /// Becomes this user, with its groups. There is no way back.
    pub(crate) fn switch(&self) -> io::Result<()> {
        sys::switch_user(self.uid, self.gid, &self.groups())
    }

    /// Its groups: as `id` reports them, or else as the file lists them.
    fn groups(&self) -> Vec<u32> {
        if self.alone {
            return vec![self.gid];
        }
        let mut groups = match ask("id", &[OsStr::new("-G"), OsStr::new("--"), &self.name]) {
            Some(words) => words.split(u8::is_ascii_whitespace).filter_map(number).collect(),
            None => members_of(&std::fs::read(GROUP).unwrap_or_default(), &self.name),
        };
        if !groups.contains(&self.gid) {
            groups.insert(0, self.gid);
        }
        groups
    }
}

/// The number of a group, which has this name or else this number.
fn group_number(group: &str) -> io::Result<u32> {
    let local = std::fs::read(GROUP).unwrap_or_default();
    gid_of(&local, group)
        .or_else(|| gid_of(&ask("getent", &["group", group])?, group))
        // The kernel takes the largest number for "leave it as it is".
        .or_else(|| group.parse().ok().filter(|gid| *gid != u32::MAX))
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

/// The number of the group with this name, in a text in the format of group(5).
fn gid_of(groups: &[u8], name: &str) -> Option<u32> {
    groups.split(|&b| b == b'\n').find_map(|line| {
        let mut fields = line.split(|&b| b == b':');
        (fields.next()? == name.as_bytes()).then_some(())?;
        number(fields.nth(1)?)
    })
}

/// The groups that name this member, in a text in the format of group(5).
fn members_of(group: &[u8], name: &OsStr) -> Vec<u32> {
    let gid = |line: &[u8]| {
        let mut fields = line.split(|&b| b == b':');
        let gid = number(fields.nth(2)?)?;
        let mut members = fields.next()?.split(|&b| b == b',');
        members.any(|member| member == name.as_bytes()).then_some(gid)
    };
    group.split(|&b| b == b'\n').filter_map(gid).collect()
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The output of a program, if it exists and succeeds.
fn ask(program: &str, args: &[impl AsRef<OsStr>]) -> Option<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok()?;
    output.status.success().then_some(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = Account::find("root").unwrap();
        assert_eq!((root.uid, root.home.to_str()), (0, Some("/root")));
        assert_eq!(Account::find("0").unwrap(), root);
        for unknown in ["no-such-user-here", "4294967295", "4294967296", "-1", ""] {
            let error = Account::find(unknown).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{unknown}");
        }
    }

    #[test]
    fn a_group_may_stand_behind_the_user() {
        for (text, uid, gid) in [
            ("root:0", 0, 0),
            ("root:root", 0, 0),
            ("0:3999999996", 0, 3_999_999_996),
            ("3999999997:7", 3_999_999_997, 7),
        ] {
            let account = Account::find(text).unwrap();
            assert_eq!((account.uid, account.gid), (uid, gid), "{text}");
            assert_eq!(account.groups(), [gid], "{text}");
        }
        for unknown in [
            "root:",
            ":0",
            ":",
            "root:no-such-group",
            "0:4294967295",
            "0:-1",
            "0:0:0",
        ] {
            let error = Account::find(unknown).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{unknown}");
        }
    }

    #[test]
    fn a_group_has_the_number_behind_its_password() {
        let groups = b"# no entry\n:\nweb:x:7:ann,bob\nwebmaster:x:8:\nbroken:x:y:\n";
        assert_eq!(gid_of(groups, "web"), Some(7));
        assert_eq!(gid_of(groups, "webmaster"), Some(8));
        for none in ["we", "ann", "broken", "7"] {
            assert_eq!(gid_of(groups, none), None, "{none}");
        }
    }

    #[test]
    fn a_number_without_a_name_is_a_user() {
        for (text, id) in [("3999999997", 3_999_999_997), ("0071234567", 71_234_567)] {
            let account = Account::find(text).unwrap();
            assert_eq!((account.uid, account.gid), (id, id));
            assert_eq!(account.name.to_str(), Some(&*id.to_string()));
            assert_eq!(account.groups(), [id]);
        }
    }

    #[test]
    fn a_name_of_digits_goes_before_a_number() {
        let passwd = b"# no entry\n:\nweb:x:7:8::/srv/web:\n7:x:9:9:a:/home/7:/bin/bash\n";
        assert_eq!(Account::among(passwd, "7").unwrap().uid, 9);
        let web = Account::among(passwd, "web").unwrap();
        assert_eq!((web.uid, web.gid, web.shell.to_str()), (7, 8, Some("/bin/sh")));
        assert_eq!(Account::among(passwd, "8"), None);
    }

    #[test]
    fn groups_are_those_that_name_the_user_and_its_own() {
        let group = b"adm:x:4:web,db\nwww:x:33:webber\nssl:x:101:web\n";
        assert_eq!(members_of(group, OsStr::new("web")), [4, 101]);
        let root = Account::find("root").unwrap();
        assert!(root.groups().contains(&0));
    }
}
