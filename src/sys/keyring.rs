//! The session keyring.
#![expect(unsafe_code, reason = "keyctl(2) has no wrapper in libc or nix")]

use std::ffi::CString;

use super::{Errno, Error, Result, checked, named};

/// The number of a key or keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial(i32);

const JOIN_SESSION_KEYRING: libc::c_ulong = 1;
const SET_PERMISSIONS: libc::c_ulong = 5;
const DESCRIBE: libc::c_ulong = 6;

/// The right to find a key in the keyring, for whoever has the user id of its owner (`KEY_USR_SEARCH`).
pub const USER_SEARCH: u32 = 0x0008_0000;

/// Leave the caller's session keyring for the one of this name, which is made if there is none. `ENOSYS` where the kernel
/// has no keyrings, `EDQUOT` or `EPERM` where the caller may have no more: the caller decides what is fatal.
pub fn join_session_keyring(name: &str) -> Result<Serial> {
    let call = || format!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name:?})");
    let c_name = named(CString::new(name).map_err(|_| Errno::EINVAL), call)?;
    // SAFETY: the kernel reads the string up to its NUL; it outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, c_name.as_ptr()) };
    // A serial number is a positive i32.
    checked(result, call).map(|serial| Serial(serial as i32))
}

/// Add rights to those that a keyring gives. Without `USER_SEARCH` for its user, a process in the container that is not
/// a possessor of the keyring could not use what is kept in it (runc sets the same).
pub fn add_permissions(keyring: Serial, rights: u32) -> Result<()> {
    let permissions = permissions(keyring)? | rights;
    let number = libc::c_long::from(keyring.0);
    // SAFETY: keyctl(KEYCTL_SETPERM) takes two numbers.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, SET_PERMISSIONS, number, libc::c_ulong::from(permissions)) };
    checked(result, || format!("keyctl(KEYCTL_SETPERM, {}, {permissions:#010x})", keyring.0)).map(drop)
}

fn permissions(keyring: Serial) -> Result<u32> {
    let call = || format!("keyctl(KEYCTL_DESCRIBE, {})", keyring.0);
    let number = libc::c_long::from(keyring.0);
    // The description is "TYPE;UID;GID;PERMISSIONS;NAME"; only its beginning is of interest, but the kernel writes
    // nothing into a buffer that is too small.
    let mut buffer = vec![0u8; 4096];
    // SAFETY: the kernel writes at most as many bytes as it is told that the buffer has.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, DESCRIBE, number, buffer.as_mut_ptr(), buffer.len() as libc::c_ulong)
    };
    checked(result, call)?;
    parse_permissions(&buffer).ok_or_else(|| Error::new(call(), Errno::EINVAL))
}

fn parse_permissions(description: &[u8]) -> Option<u32> {
    let field = description.split(|&b| b == b';').nth(3)?;
    u32::from_str_radix(std::str::from_utf8(field).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_the_fourth_field() {
        assert_eq!(parse_permissions(b"keyring;0;0;3f030000;_ses.web\0"), Some(0x3f03_0000));
        assert_eq!(parse_permissions(b"keyring;0;0"), None);
        assert_eq!(parse_permissions(b"keyring;0;0;xyz;a"), None);
    }
}
