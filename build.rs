//! Where the binary begins: see src/sys/start.rs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") == "linux" && matches!(&*target("ARCH"), "x86_64" | "aarch64") {
        println!("cargo::rustc-link-arg-bins=-Wl,--entry=crust_start");
    }
}
