//! From which nodes of memory a process is served.
#![expect(unsafe_code, reason = "a call that neither libc nor nix wraps")]

use super::{Result, checked};

/// `set_mempolicy(2)` of the caller: `MPOL_*` with `MPOL_F_*`; bit n of the mask is node n. Outlives `execve(2)`. `EINVAL`
/// if no node of the mask is there, or the kernel does not know the mode.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel takes one bit less than it is told, and no pointer where there are no nodes.
    let (pointer, bits) = match nodes {
        [] => (std::ptr::null(), 0),
        nodes => (nodes.as_ptr(), size_of_val(nodes) * 8 + 1),
    };
    // SAFETY: the kernel reads as many bits as it is told that the slice has, in whole words.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) };
    checked(result, || {
        let words: Vec<String> = nodes.iter().rev().map(|word| format!("{word:x}")).collect();
        let nodes = if words.is_empty() { "NULL".into() } else { words.join(",") };
        format!("set_mempolicy({mode:#x}, {nodes})")
    })
    .map(drop)
}
