//! Where the binary begins, see src/sys/start.rs, and what lies beside one another in it, see link/usual.ld.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") == "linux" && matches!(&*target("ARCH"), "x86_64" | "aarch64") {
        println!("cargo::rustc-link-arg-bins=-Wl,--entry=crust_start");
        let usual = "link/usual.ld";
        println!("cargo::rerun-if-changed={usual}");
        let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-T{root}/{usual}");
    }
}
