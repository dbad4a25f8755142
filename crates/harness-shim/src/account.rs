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
}

impl Account {
    /// Looks a user up by name, else by numeric uid. A number that nobody has is a user all the same, as it is to the
    /// kernel: one without a name, with the group of that number.
    ///
    /// # Errors
    /// `ENOENT` when no user has the name.
    pub(crate) fn find(user: &str) -> io::Result<Self> {
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
        })
    }

    /// Becomes this user, with its groups. There is no way back.
    pub(crate) fn switch(&self) -> io::Result<()> {
        sys::switch_user(self.uid, self.gid, &self.groups())
    }

    /// Its groups: as `id` reports them, or else as the file lists them.
    fn groups(&self) -> Vec<u32> {
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
