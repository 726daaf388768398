//! crust
fn main() {}
