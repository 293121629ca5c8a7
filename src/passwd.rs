//! Lines of /etc/passwd and /etc/group, as passwd(5) and group(5) have them. Nothing is allocated: the child reads them, too.

/// A line of /etc/passwd: name:password:uid:gid:comment:home:shell.
#[derive(Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// Name of the user.
    pub name: &'a [u8],
    /// Uid, if that is a number.
    pub uid: Option<u32>,
    /// The gid of its own group, if that is a number.
    pub gid: Option<u32>,
    /// Its home directory.
    pub home: &'a [u8],
}

impl User<'_> {
    /// What a line says; what is missing is empty.
    pub fn of(line: &[u8]) -> User<'_> {
        let mut fields = fields(line);
        let [name, _, uid, gid, _, home] = std::array::from_fn(|_| fields.next().unwrap_or_default());
        User { name, uid: number(uid), gid: number(gid), home }
    }
}

/// A line of /etc/group: name:password:gid:members.
#[derive(Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// Name of the group.
    pub name: &'a [u8],
    /// Gid, if that is a number.
    pub gid: Option<u32>,
    /// Names of users, between commas.
    pub members: &'a [u8],
}

impl Group<'_> {
    /// What a line says; what is missing is empty.
    pub fn of(line: &[u8]) -> Group<'_> {
        let mut fields = fields(line);
        let [name, _, gid, members] = std::array::from_fn(|_| fields.next().unwrap_or_default());
        Group { name, gid: number(gid), members }
    }

    /// Whether a user is among its members.
    pub fn has(&self, name: &[u8]) -> bool {
        self.members.split(|byte| *byte == b',').any(|member| member == name)
    }
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b':')
}

fn number(field: &[u8]) -> Option<u32> {
    str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_in_a_line_is_empty() {
        let user = User::of(b"root:x:0:0:root:/root:/bin/sh");
        assert_eq!(user, User { name: b"root", uid: Some(0), gid: Some(0), home: b"/root" });
        assert_eq!(User::of(b"x:x:one"), User { name: b"x", uid: None, gid: None, home: b"" });
        let group = Group::of(b"audio:x:29:other,user");
        assert!(group.gid == Some(29) && group.has(b"user") && !group.has(b"use"));
        assert!(!Group::of(b"users:x:100:").has(b"users"));
    }
}
