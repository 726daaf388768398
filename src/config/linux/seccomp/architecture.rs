//! `linux.seccomp.architectures` — whose system calls the filter knows. Calls of any other kill the thread.

use oci_spec::runtime::Arch as Given;

use crate::error::Problems;
use crate::sys::seccomp::Arch;

/// The spec's word, libseccomp's, and the kernel's `AUDIT_ARCH_*` number, which a filter sees.
const ARCHITECTURES: &[(Given, Arch, u32)] = &[
    (Given::ScmpArchX86, Arch::X86, 0x4000_0003),
    (Given::ScmpArchX86_64, Arch::X8664, X86_64),
    // To the kernel x32 is x86_64 with a bit in the number of the call.
    (Given::ScmpArchX32, Arch::X32, X86_64),
    (Given::ScmpArchArm, Arch::Arm, 0x4000_0028),
    (Given::ScmpArchAarch64, Arch::Aarch64, 0xc000_00b7),
    (Given::ScmpArchMips, Arch::Mips, 0x0000_0008),
    (Given::ScmpArchMips64, Arch::Mips64, 0x8000_0008),
    (Given::ScmpArchMips64n32, Arch::Mips64N32, 0xa000_0008),
    (Given::ScmpArchMipsel, Arch::Mipsel, 0x4000_0008),
    (Given::ScmpArchMipsel64, Arch::Mipsel64, 0xc000_0008),
    (Given::ScmpArchMipsel64n32, Arch::Mipsel64N32, 0xe000_0008),
    (Given::ScmpArchPpc, Arch::Ppc, 0x0000_0014),
    (Given::ScmpArchPpc64, Arch::Ppc64, 0x8000_0015),
    (Given::ScmpArchPpc64le, Arch::Ppc64Le, 0xc000_0015),
    (Given::ScmpArchS390, Arch::S390, 0x0000_0016),
    (Given::ScmpArchS390x, Arch::S390X, 0x8000_0016),
    (Given::ScmpArchParisc, Arch::Parisc, 0x0000_000f),
    (Given::ScmpArchParisc64, Arch::Parisc64, 0x8000_000f),
    (Given::ScmpArchRiscv64, Arch::Riscv64, 0xc000_00f3),
    (Given::ScmpArchLoongarch64, Arch::Loongarch64, 0xc000_0102),
    (Given::ScmpArchM68k, Arch::M68k, 0x0000_0004),
    (Given::ScmpArchSh, Arch::Sh, 0x4000_002a),
    (Given::ScmpArchSheb, Arch::Sheb, 0x0000_002a),
];

const X86_64: u32 = 0xc000_003e;

/// The architectures without repetitions; the one that crust is built for is always among them, or the container could
/// not even begin. Which of the others go together is libseccomp's to say.
pub(super) fn parse(given: &[Given]) -> Result<Vec<Arch>, Problems> {
    let mut problems = Problems::default();
    let mut architectures = vec![Arch::native()];
    for (i, given) in given.iter().enumerate() {
        let arch = match ARCHITECTURES.iter().find(|(word, ..)| word == given) {
            Some((_, arch, _)) => *arch,
            None if *given == Given::ScmpArchNative => Arch::native(),
            None => {
                problems.add(format!("linux.seccomp.architectures[{i}]"), format!("{given} is not known"));
                continue;
            }
        };
        if !architectures.contains(&arch) {
            architectures.push(arch);
        }
    }
    problems.or(architectures)
}

/// The words that are understood.
pub(super) fn words() -> impl Iterator<Item = Given> {
    ARCHITECTURES.iter().map(|(word, ..)| *word).chain([Given::ScmpArchNative])
}

/// The number by which a filter knows an architecture.
pub(super) fn audit_number(arch: Arch) -> Option<u32> {
    ARCHITECTURES.iter().find(|(_, known, _)| *known == arch).map(|(.., number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_spec_crates() {
        for (given, arch, number) in ARCHITECTURES {
            let expected = if *arch == Arch::X32 { X86_64 } else { *given as u32 };
            assert_eq!(*number, expected, "{given}");
        }
    }

    #[test]
    fn the_native_one_is_always_there_and_only_once() {
        assert_eq!(parse(&[]), Ok(vec![Arch::native()]));
        let given = [Given::ScmpArchNative, Given::ScmpArchX86_64, Given::ScmpArchArm, Given::ScmpArchArm];
        let parsed = parse(&given).unwrap();
        assert_eq!(parsed[0], Arch::native());
        assert_eq!(parsed.iter().filter(|arch| **arch == Arch::Arm).count(), 1);
        assert_eq!(parsed.iter().filter(|arch| **arch == Arch::X8664).count(), 1);
    }
}
